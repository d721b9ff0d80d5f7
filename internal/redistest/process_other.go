//go:build !unix

package redistest

import "errors"

// On other systems there is no redis-server to start, and Require skips. These declarations let the
// tests that use this package compile.

var errNotUnix = errors.New("redistest: servers run on Unix systems only")

type process struct{ port int }

func launch(plan) (*process, error) { return nil, errNotUnix }
func serverBinary() (string, error) { return "", errNotUnix }

func freePort() int              { return 0 }
func (p *process) start() error  { return errNotUnix }
func (p *process) pause() error  { return errNotUnix }
func (p *process) resume() error { return errNotUnix }
func (p *process) kill()         {}
func (p *process) logs() string  { return "" }
