package remote

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/redis/go-redis/v9"
)

// Dial makes the client for a URL, without connecting. The client respects the deadlines of
// contexts (ContextTimeoutEnabled). No error quotes the URL, because it may have a password.
func Dial(rawURL string) (redis.UniversalClient, error) {
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
