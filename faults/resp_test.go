package faults

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// This file parses RESP2 and RESP3, as far as needed to find the end of a command or a reply.

// errProtocol means that the input is not RESP.
var errProtocol = errors.New("not RESP")

// readCommand reads one command, and returns its bytes and its arguments.
func readCommand(r *bufio.Reader) (raw []byte, args []string, err error) {
	header, err := r.ReadBytes('\n')
	if err != nil {
		return nil, nil, err
	}
	n, ok := lengthOf(header)
	if header[0] != '*' || !ok {
		return nil, nil, fmt.Errorf("%w: a command begins with %q", errProtocol, header)
	}
	raw = header
	for range n {
		arg, err := readReply(r) // a bulk string
		if err != nil {
			return nil, nil, err
		}
		raw, args = append(raw, arg...), append(args, string(bodyOf(arg)))
	}
	return raw, args, nil
}

// readReply reads one reply, or push, and returns its bytes.
func readReply(r *bufio.Reader) ([]byte, error) {
	raw, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	n, ok := lengthOf(raw)
	if !ok {
		return raw, nil // a line, or null
	}
	switch raw[0] {
	case '$', '=', '!':
		body := make([]byte, n+2)
		_, err := io.ReadFull(r, body)
		return append(raw, body...), err
	case '%':
		n *= 2
	case '|': // attributes, and then the value that they belong to
		n = 2*n + 1
	case '*', '~', '>':
	default:
		return raw, nil // a line that ends in a number
	}
	for range n {
		element, err := readReply(r)
		if err != nil {
			return nil, err
		}
		raw = append(raw, element...)
	}
	return raw, nil
}

// lengthOf returns the length in the first line of a value.
func lengthOf(line []byte) (n int, ok bool) {
	if len(line) < 4 {
		return 0, false
	}
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	return n, err == nil && n >= 0
}

// headerOf returns the length of the first line of a reply.
func headerOf(reply []byte) int {
	for i, b := range reply {
		if b == '\n' {
			return i + 1
		}
	}
	return len(reply)
}

// bodyOf returns the content of a bulk string.
func bodyOf(reply []byte) []byte { return reply[headerOf(reply) : len(reply)-2] }

// wire returns the bytes of a command.
func wire(args []string) []byte {
	raw := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		raw = fmt.Appendf(raw, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return raw
}
