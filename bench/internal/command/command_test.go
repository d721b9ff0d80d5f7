package command

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArgumentsThatAreNoFlagsAreRefused(t *testing.T) {
	flags := Flags("some", io.Discard)
	quick := flags.Bool("quick", false, "")
	require.NoError(t, Parse(flags, []string{"-quick"}))
	require.True(t, *quick)
	require.EqualError(t, Parse(flags, []string{"-quick", "fast"}), `unexpected argument "fast"; there are only flags`)
}

func TestHelpIsPrintedWhereErrorsGo(t *testing.T) {
	var stderr bytes.Buffer
	flags := Flags("some", &stderr)
	flags.Bool("quick", false, "takes seconds")
	require.ErrorIs(t, Parse(flags, []string{"-h"}), flag.ErrHelp)
	require.Contains(t, stderr.String(), "takes seconds")
}

func TestChoose(t *testing.T) {
	self := func(s string) string { return s }
	all := []string{"near", "remote", "cold"}
	for _, test := range []struct {
		value string
		want  []string
		err   string
	}{
		{"", all, ""},
		{"cold,near", []string{"cold", "near"}, ""},
		{"cold,warm", nil, `-only: there is no workload "warm"; choose from near, remote, cold`},
	} {
		chosen, err := Choose("only", "workload", test.value, all, self)
		if test.err != "" {
			require.EqualError(t, err, test.err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, test.want, chosen)
	}
}

func TestSaveMakesTheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, Save(dir, "x.json", struct{ Figure int }{7}))
	raw, err := os.ReadFile(filepath.Join(dir, "x.json"))
	require.NoError(t, err)
	require.Equal(t, "{\n  \"Figure\": 7\n}\n", string(raw))
}

func TestLineLeavesOutWhereTheCatalogueIs(t *testing.T) {
	for _, args := range [][2][]string{
		{{"-out", "x"}, {"run", "-out", "x"}},
		{{"-catalog", "/a/b.csv", "-quick"}, {"run", "-catalog", "FILE.csv", "-quick"}},
		{{"--catalog=/a/b.csv"}, {"run", "-catalog=FILE.csv"}},
		{{"catalog"}, {"run", "catalog"}},
	} {
		require.Equal(t, args[1], strings.Fields(Line("run", args[0])))
	}
}
