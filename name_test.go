package fncache_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache/internal/redistest"
)

func topLevel(int) int { return 0 }

type shop struct{ n int }

func (shop) Value(int) int        { return 0 }
func (*shop) Pointer(int) int     { return 0 }
func generic[T any](int) int      { var t T; _ = t; return 0 }
func closure(n int) func(int) int { return func(int) int { return n } }

// ünïcode has a name that is not ASCII.
func ünïcode(int) int { return 0 }

const ownPackage = module + "_test"

// Of these each wraps fields of a generic struct type.
type namedFields[T any] struct {
	Get  func(context.Context, int) (T, error) `fncache:"timeout=1m"`
	List func(context.Context, int) (T, error) `fncache:"timeout=1m"`
}

func TestScanFindsExactlyTheKeysOfADerivedName(t *testing.T) {
	client := redistest.Shared(t).Client()
	c := newOpenCache(t, Config{Redis: client, Namespace: "scan" + rand.Text()})
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	opts := Options{Cache: c}
	svc := namedFields[int]{
		Get:  func(_ context.Context, i int) (int, error) { return i, nil },
		List: func(_ context.Context, i int) (int, error) { return i, nil },
	}
	fields, err := WrapStruct(&svc, opts)
	require.NoError(t, err)
	// What a pattern with [int] in it would find instead.
	other := func(_ context.Context, i int) (int, error) { return i, nil }
	opts.Name, opts.Timeout = strings.ReplaceAll(fields["Get"].Name(), "%5Bint%5D", "i"), time.Minute
	_, err = Wrap(&other, opts)
	require.NoError(t, err)
	for i := range 3 {
		for _, fn := range []func(context.Context, int) (int, error){svc.Get, svc.List, other} {
			_, err := fn(t.Context(), i)
			require.NoError(t, err)
		}
	}
	var want []string
	for i := range 3 {
		key, err := fields["Get"].Key(i)
		require.NoError(t, err)
		want = append(want, key)
	}
	found := scan(t, client, c.Config().Namespace+":{"+fields["Get"].Name()+":*")
	slices.Sort(want)
	assert.Equal(t, want, found)
}

// scan returns the keys that match, sorted.
func scan(t *testing.T, client redis.UniversalClient, pattern string) (keys []string) {
	t.Helper()
	for it := client.Scan(t.Context(), 0, pattern, 1000).Iterator(); ; {
		if !it.Next(t.Context()) {
			require.NoError(t, it.Err())
			break
		}
		keys = append(keys, it.Val())
	}
	slices.Sort(keys)
	return keys
}

// TestNamesInAMainPackage builds programs, because no package is main under go test.
func TestNamesInAMainPackage(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds a program")
	}
	const source = `package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fncache/fncache"
)

func declared(_ context.Context, i int) (int, error) { return i, nil }

type store struct{}

func (store) Get(_ context.Context, i int) (int, error) { return i, nil }

type service struct {
	Closure func(context.Context, int) (int, error) ` + "`fncache:\"timeout=1m\"`" + `
}

func main() {
	opts := fncache.Options{Timeout: time.Minute}
	for _, fn := range []func(context.Context, int) (int, error){declared, store{}.Get, func(_ context.Context, i int) (int, error) { return i, nil }} {
		show(fncache.Wrap(&fn, opts))
	}
	funcs, err := fncache.WrapStruct(&service{func(_ context.Context, i int) (int, error) { return i, nil }}, opts)
	show(funcs["Closure"], err)
}

func show(f *fncache.Func, err error) {
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Name())
}
`
	dir, err := os.MkdirTemp("testdata", "main")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	file := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
	run := func(what string) []string {
		out, err := exec.Command("go", "run", what).CombinedOutput() //nolint:gosec // what it runs is above
		require.NoError(t, err, "%s", out)
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}

	lines := run("./" + dir)
	require.Len(t, lines, 4)
	path := module + "/" + filepath.ToSlash(dir)
	assert.Equal(t, path+".declared", lines[0])
	assert.Equal(t, path+".store.Get-fm", lines[1])
	assert.Contains(t, lines[2], "(main.go:23) at main.go:24: the func is a closure")
	assert.Equal(t, path+".service.Closure", lines[3])

	lines = run(file)
	require.Len(t, lines, 4)
	for i, want := range []string{"declared may be a function of another program", "store.Get-fm may be a function of another program", "is a closure", "is a closure"} {
		assert.Contains(t, lines[i], want, fmt.Sprint(i))
		assert.Contains(t, lines[i], "Options.Name")
	}
}
