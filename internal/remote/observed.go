package remote

import (
	"cmp"
	"context"
	"time"
)

// An Observed is a Remote that reports its operations. Its methods do what those of Remote do.
type Observed struct {
	*Remote
	// Answered is called after each operation, with the time when it began and with its first
	// error. commands is how many commands it had: for GetAll, its keys. Answered is nil if
	// nothing is reported.
	Answered func(ctx context.Context, op string, commands int, began time.Time, err error)
}

// Do is [Remote.Do].
func (o Observed) Do(ctx context.Context, c *Command) error { return o.DoWith(ctx, nil, c) }

// DoWith is [Group.Do], or [Remote.Do] if group is nil.
func (o Observed) DoWith(ctx context.Context, group *Group, c *Command) error {
	do := o.Remote.Do
	if group != nil {
		do = group.Do
	}
	if o.Answered == nil {
		return do(ctx, c)
	}
	began := time.Now()
	err := do(ctx, c)
	o.Answered(ctx, c.Op(), 1, began, err)
	return err
}

// All is [Remote.All].
func (o Observed) All(ctx context.Context, cmds []*Command) []error {
	if o.Answered == nil {
		return o.Remote.All(ctx, cmds)
	}
	began := time.Now()
	errs := o.Remote.All(ctx, cmds)
	o.Answered(ctx, cmds[0].Op(), len(cmds), began, cmp.Or(errs...))
	return errs
}

// GetAll is [Remote.GetAll].
func (o Observed) GetAll(ctx context.Context, op string, keys []string, limit Limits, q *Question) (all []Got, qErr error) {
	if o.Answered == nil {
		return o.Remote.GetAll(ctx, op, keys, limit, q)
	}
	began := time.Now()
	all, qErr = o.Remote.GetAll(ctx, op, keys, limit, q)
	err := qErr
	for i := range all {
		err = cmp.Or(err, all[i].Err)
	}
	o.Answered(ctx, op, len(keys), began, err)
	return all, qErr
}

// Both is [Remote.Both].
func (o Observed) Both(ctx context.Context, get *Command, q *Question) (err, qErr error) {
	if o.Answered == nil {
		return o.Remote.Both(ctx, get, q)
	}
	began := time.Now()
	err, qErr = o.Remote.Both(ctx, get, q)
	o.Answered(ctx, get.Op(), 2, began, cmp.Or(err, qErr))
	return err, qErr
}
