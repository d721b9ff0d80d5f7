package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fncache/fncache/internal/events"
	"github.com/fncache/fncache/internal/fence"
)

// A happening is an event as it is printed.
type happening struct {
	At       time.Time `json:"at"` // on the clock of this host
	Event    string    `json:"event"`
	Function string    `json:"function,omitempty"`
	Key      string    `json:"key,omitempty"`
	Tags     []string  `json:"tags,omitempty"` // hashes, in hex
}

// parse reads a message. ok is false if it is not about entries.
func (a *app) parse(payload string) (h happening, ok bool) {
	h.At = time.Now()
	if m, isTags := fence.ParseMessage(payload); isTags {
		h.Event = "invalidate tags"
		if m.Kind == fence.Soft {
			h.Event = "expire tags"
		}
		for _, tag := range m.Tags {
			h.Tags = append(h.Tags, tag.String())
		}
		return h, true
	}
	e, isEvent := events.Parse(payload)
	h.Event = string(e.Verb)
	switch e.Verb {
	case events.Clear:
		h.Function = e.Key
	case events.Store, events.CoolDown, events.Release, events.Failed, events.Open, events.Invalidate, events.Expire:
		h.Key = e.Key
		_, function, err := a.operator.Split(e.Key)
		if h.Function = function; err != nil {
			return h, false
		}
	default: // a greeting of a subscriber
		return h, false
	}
	return h, isEvent
}

// listening has the flags of the commands that listen.
type listening struct {
	Function string        `help:"Only events of this function." placeholder:"NAME"`
	For      time.Duration `help:"End after this time, instead of at Ctrl-C." placeholder:"DURATION"`
}

// listen calls hear for each event and tick at each interval, until Ctrl-C or the end of For.
func (l listening) listen(ctx context.Context, a *app, every time.Duration, hear func(happening) error, tick func() error) error {
	prefix := events.Prefix(a.flags.Namespace, a.client)
	channels := globbed.Replace(prefix) + "*"
	if l.For > 0 {
		var end context.CancelFunc
		ctx, end = context.WithTimeout(ctx, l.For)
		defer end()
	}
	subscription := a.client.PSubscribe(ctx, channels)
	defer func() { _ = subscription.Close() }()
	limited, end := a.limited(ctx)
	defer end()
	if _, err := subscription.Receive(limited); err != nil {
		if over, set := ctx.Deadline(); ctx.Err() != nil || set && !time.Now().Before(over) { // a socket may notice the end of For first
			return nil
		}
		return fmt.Errorf("subscribe to %s: %w%s", channels, err, hint(err))
	}
	if a.progress {
		fmt.Fprintln(a.err, "listening; Ctrl-C ends it")
	}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	messages := subscription.Channel()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case message, open := <-messages:
			if !open {
				return fmt.Errorf("the subscription to %s has ended: its connection was closed; run the command again", channels)
			}
			if events.OtherDatabase(message.Channel, prefix) {
				continue
			}
			if h, ok := a.parse(message.Payload); ok && (l.Function == "" || h.Function == l.Function) {
				err = hear(h)
			}
		case <-ticks.C:
			err = tick()
		}
		if err != nil {
			return err
		}
	}
}

type eventsCommand struct{ listening }

// Run prints events, one on each line, as JSON if that is the format.
func (e eventsCommand) Run(ctx context.Context, a *app) error {
	return e.listen(ctx, a, time.Hour, func(h happening) error {
		if a.flags.Format == "json" {
			return a.showJSON(h, "")
		}
		what := cmp.Or(h.Key, h.Function, strings.Join(h.Tags, " "))
		_, err := fmt.Fprintf(a.out, "%s  %-15s  %s\n", h.At.Format("15:04:05.000"), h.Event, clean(what))
		return err
	}, func() error { return nil })
}

type topCommand struct {
	listening
	Every time.Duration `help:"How often to print." default:"2s"`
	Rows  int           `help:"How many functions to show, the busiest first." default:"20"`
}

// A busyness counts the events of a function in an interval, or has their rates.
type busyness struct {
	Function    string  `json:"function"`
	Stored      float64 `json:"stored_per_second"`
	Failed      float64 `json:"failed_per_second"`
	Released    float64 `json:"released_per_second"` // without a value
	Invalidated float64 `json:"invalidated_per_second"`
}

func (b *busyness) sum() float64 { return b.Stored + b.Failed + b.Released + b.Invalidated }

// byTags is the row of invalidations of tags, which do not belong to a function.
const byTags = "(tags)"

// count adds an event.
func (b *busyness) count(h happening) {
	switch events.Verb(h.Event) {
	case events.Store:
		b.Stored++
	case events.Failed, events.CoolDown:
		b.Failed++
	case events.Release, events.Open:
		b.Released++
	default:
		b.Invalidated++
	}
}

// Run prints rates by function. On a terminal each table replaces the one before.
func (t topCommand) Run(ctx context.Context, a *app) error {
	if t.Every < 100*time.Millisecond {
		return usageError{"--every must be at least 100ms"}
	}
	if t.Rows < 1 {
		return usageError{"--rows must be at least 1"}
	}
	seen, began := make(map[string]*busyness), time.Now()
	return t.listen(ctx, a, t.Every, func(h happening) error {
		name := cmp.Or(h.Function, byTags)
		if seen[name] == nil {
			seen[name] = &busyness{Function: name}
		}
		seen[name].count(h)
		return nil
	}, func() error {
		took := time.Since(began).Seconds()
		rates := ratesOf(seen, took)
		seen, began = make(map[string]*busyness), time.Now()
		return t.print(a, rates)
	})
}

// ratesOf divides by the length of the interval, and sorts by the sums of rates.
func ratesOf(seen map[string]*busyness, seconds float64) (rates []busyness) {
	for _, b := range seen {
		rates = append(rates, busyness{b.Function, b.Stored / seconds, b.Failed / seconds, b.Released / seconds, b.Invalidated / seconds})
	}
	slices.SortFunc(rates, func(a, b busyness) int {
		return cmp.Or(cmp.Compare(b.sum(), a.sum()), strings.Compare(a.Function, b.Function))
	})
	return rates
}

func (t topCommand) print(a *app, rates []busyness) error {
	more := max(0, len(rates)-t.Rows)
	rates = rates[:len(rates)-more]
	now := time.Now()
	if a.flags.Format == "json" {
		return a.showJSON(struct {
			At        time.Time  `json:"at"`
			Functions []busyness `json:"functions"`
			More      int        `json:"more"`
		}{now, append([]busyness{}, rates...), more}, "")
	}
	if a.live {
		fmt.Fprint(a.out, "\x1b[H\x1b[2J")
	}
	fmt.Fprintf(a.out, "%s  events per second, over %s\n", now.Format("15:04:05"), short(t.Every))
	rows := make([][]string, len(rates))
	for i, b := range rates {
		rows[i] = []string{b.Function, rate(b.Stored), rate(b.Failed), rate(b.Released), rate(b.Invalidated)}
	}
	if err := table(a.out, []string{"FUNCTION", "STORED", "FAILED", "RELEASED", "INVALIDATED"}, rows); err != nil {
		return err
	}
	if more > 0 {
		fmt.Fprintf(a.out, "and %d more\n", more)
	}
	return nil
}

func rate(perSecond float64) string { return fmt.Sprintf("%.1f", perSecond) }
