package fncache

// A Cache keeps the results of wrapped functions in one Redis.
type Cache struct{}
