package apart_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fncache/fncache/internal/apart"
)

func TestEachEndOfTheCodeEndsTheRun(t *testing.T) {
	for _, c := range []struct {
		name, fault string
		code        func()
	}{
		{"returns", "", func() {}},
		{"panics", "panicked: panic with a string", func() { panic("an argument") }},
		{"panics with an error", "panicked: panic with a *errors.errorString", func() { panic(errors.New("an argument")) }},
		{"ends its goroutine", "ended its goroutine", runtime.Goexit},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := apart.Start(func(f func()) { go f() }, c.code)
			<-run.Ended
			if c.fault == "" {
				assert.Empty(t, run.Fault)
			}
			assert.Contains(t, run.Fault, c.fault)
			assert.NotContains(t, run.Fault, "an argument")
		})
	}
}
