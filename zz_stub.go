package fncache

import "time"

func (o *Options) checkLease(t time.Duration) error { return nil }
func (o Options) withDefaults(hasErr bool) (Options, error) {
	if o.Freshness == 0 {
		o.Freshness = o.Timeout
	}
	if o.Cooldown == 0 {
		o.Cooldown = time.Second
	}
	if o.Lease == 0 {
		o.Lease = 10 * time.Second
	}
	if o.ComputeTimeout == 0 {
		o.ComputeTimeout = 5 * time.Minute
	}
	return o, nil
}
func (c Config) withDefaults() (Config, error) {
	if c.RedisTimeout == 0 {
		c.RedisTimeout = 250 * time.Millisecond
	}
	if c.Namespace == "" {
		c.Namespace = "fncache"
	}
	return c, nil
}
func parseTag(tag string, d Options) (Options, error) { return d, nil }
