package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

// scan returns the lines of r.
func scan(r io.Reader, lines chan<- string) {
	defer close(lines)
	for s := bufio.NewScanner(r); s.Scan(); {
		lines <- s.Text()
	}
}

// play runs the whole program and returns its table: figures by act and column.
func play(t *testing.T, args ...string) map[string]map[string]int {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: the whole stampede takes seconds")
	}
	temp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-quick"}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+temp)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s%s", &stdout, &stderr)
	t.Logf("%s%s", &stdout, &stderr)
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left, "the database is thrown away")
	return parseTable(t, &stdout)
}

func parseTable(t *testing.T, out io.Reader) map[string]map[string]int {
	t.Helper()
	lines := make(chan string, 100)
	go scan(out, lines)
	var header, rule string
	for line := range lines {
		if header, rule = rule, line; strings.HasPrefix(line, "---") {
			break
		}
	}
	// The rule says where columns end.
	cut := func(line string) (cells []string) {
		for at := 0; at < len(rule); {
			end := at + len(strings.Split(rule[at:], "  ")[0])
			cells = append(cells, strings.TrimSpace(line[at:end]))
			at = end + len("  ")
		}
		return cells
	}
	titles := cut(header)
	table := make(map[string]map[string]int)
	for line := range lines {
		if line == "" {
			break
		}
		cells := cut(line)
		row := make(map[string]int)
		for i, title := range titles {
			if n, err := strconv.Atoi(strings.ReplaceAll(cells[i], ",", "")); err == nil {
				row[title] = n
			}
		}
		table[cells[0]] = row
	}
	for act, row := range table {
		require.Equal(t, row["requests"], row["computed"]+row["waited"]+row["fresh"]+row["stale"]+row["refused"]+row["failed"], act)
	}
	return table
}

func TestStampede(t *testing.T) {
	table := play(t)
	const all = processes * requests
	require.Len(t, table, 5)

	require.Equal(t, all, table["no cache"]["requests"])
	require.Zero(t, table["no cache"]["Redis commands"])

	require.Equal(t, all, table["cold"]["requests"])
	require.Equal(t, 1, table["cold"]["computations"])
	require.Equal(t, 1, table["cold"]["computed"])
	require.Zero(t, table["cold"]["failed"])

	require.Zero(t, table["fresh"]["computations"])
	require.Equal(t, all, table["fresh"]["fresh"])

	require.Equal(t, all, table["stale"]["requests"])
	require.Equal(t, 1, table["stale"]["computations"])
	require.Zero(t, table["stale"]["refused"])
	require.Zero(t, table["stale"]["failed"])

	// The first computation dies with its process, the second ends.
	dies := table["holder dies"]
	require.Equal(t, 2, dies["computations"])
	require.Equal(t, 1, dies["computed"])
	require.Equal(t, all-requests, dies["computed"]+dies["fresh"], "every surviving caller got the value")
	require.Positive(t, dies["failed"])
	require.LessOrEqual(t, dies["failed"], requests)
}

func TestStampedeOnARealRedisWithCallersWhoWait(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "open-sesame")
	table := play(t, "-oncold", "wait", "-redis", "redis://:open-sesame@"+server.Addr()+"/3")
	require.Equal(t, 1, table["cold"]["computations"])
	require.Zero(t, table["cold"]["refused"])
	require.Equal(t, processes*requests, table["cold"]["computed"]+table["cold"]["waited"]+table["cold"]["fresh"])
	require.Equal(t, 2, table["holder dies"]["computations"])

	client := server.Client(func(o *redis.Options) { o.Password, o.DB = "open-sesame", 3 })
	require.Contains(t, client.Info(t.Context(), "commandstats").Val(), "cmdstat_evalsha")
	for _, key := range client.Keys(t.Context(), "*").Val() { // a process that was killed leaves its name, for an hour
		require.Contains(t, key, ":{process:", "nothing is left in the user's Redis")
		require.Positive(t, client.TTL(t.Context(), key).Val(), key)
	}
}
