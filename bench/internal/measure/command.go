package measure

import "strings"

// CommandLine returns the command that gives the same figures. It leaves out the path of the
// catalogue on this machine.
func CommandLine(command string, args []string) string {
	words := append([]string{command}, args...)
	for i, word := range words {
		name, _, valued := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case word == name || name != "catalog":
		case valued:
			words[i] = "-catalog=FILE.csv"
		case i+1 < len(words):
			words[i+1] = "FILE.csv"
		}
	}
	return strings.Join(words, " ")
}
