package fncache

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/redis/go-redis/v9"
)

// Open makes a cache with a Redis client of its own, from a URL, which Close closes too. The
// client is fit for the cache: deadlines of the cache end what it waits for on a socket
// (ContextTimeoutEnabled). cfg.Redis must not be set. The forms of the URL, and its
// parameters, are those of go-redis:
//
//	redis://user:password@host:6379/0             a server; rediss:// with TLS
//	unix:///path/to/redis.sock?db=0               a server on this machine
//	redis://host:6379?addr=host2:6379             a Cluster, with one address or more besides
//	redis://sentinel:26379?master_name=mymaster   a Sentinel group
//
// Open asks Redis what [Cache.Ping] does, as long as ctx allows. A Redis that is away is no
// error, because the service is to come up without it: the log says so, and [Cache.Health].
// What a person has to mend, such as a wrong password, is one, and so is the end of ctx.
func Open(ctx context.Context, rawURL string, cfg Config) (*Cache, error) {
	if cfg.Redis != nil {
		return nil, errors.New("fncache: open: Config.Redis is set, and Open makes a client of its own; leave it out, or use New")
	}
	client, err := clientOf(rawURL)
	if err != nil {
		return nil, fmt.Errorf("fncache: open: %w", err)
	}
	cfg.Redis = client
	c, err := New(cfg)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	c.ownsClient = true
	var failure *RedisError
	switch err = c.Ping(orBackground(ctx)); {
	case err == nil:
		return c, nil
	case errors.As(err, &failure) && kindFacts[failure.Kind].away && failure.Kind != KindAuth:
		c.health.tell(failure)
		return c, nil
	default:
		_ = c.Close()
		return nil, fmt.Errorf("fncache: open: %w", err)
	}
}

// clientOf makes the client that a URL asks for. No error quotes the URL, in which there may
// be a password.
func clientOf(rawURL string) (redis.UniversalClient, error) {
	const forms = "use redis://, rediss:// or unix://, as in redis://user:password@host:6379/0"
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("the URL of Redis cannot be parsed; " + forms)
	}
	switch query := u.Query(); {
	case query.Has("master_name"):
		o, err := redis.ParseFailoverURL(rawURL)
		if err != nil {
			return nil, fmt.Errorf("the URL of a Sentinel group: %w; %s", err, forms)
		}
		o.ContextTimeoutEnabled = true
		return redis.NewFailoverClient(o), nil
	case query.Has("addr"):
		o, err := redis.ParseClusterURL(rawURL)
		if err != nil {
			return nil, fmt.Errorf("the URL of a Cluster: %w; %s", err, forms)
		}
		o.ContextTimeoutEnabled = true
		return redis.NewClusterClient(o), nil
	default:
		o, err := redis.ParseURL(rawURL)
		if err != nil {
			return nil, fmt.Errorf("the URL of Redis: %w; %s", err, forms)
		}
		o.ContextTimeoutEnabled = true
		return redis.NewClient(o), nil
	}
}
