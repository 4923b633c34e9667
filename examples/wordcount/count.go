package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
)

// counts is how often each word occurs. A word is as many letters, digits and underscores
// as stand together; every byte outside ASCII is a letter.
type counts map[string]uint64

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c >= 0x80
}

// count adds the words of r, reading it once, in little memory however large it is.
func (n counts) count(r io.Reader) error {
	in := bufio.NewReaderSize(r, 256<<10)
	// One counter per word: looking it up by bytes costs no allocation.
	at := make(map[string]*uint64)
	var word []byte
	add := func() {
		if len(word) == 0 {
			return
		}
		p := at[string(word)]
		if p == nil {
			p = new(uint64)
			at[string(word)] = p
		}
		*p++
		word = word[:0]
	}
	for {
		chunk, err := in.Peek(1)
		if len(chunk) > 0 {
			chunk, _ = in.Peek(in.Buffered())
			for start, i := 0, 0; i <= len(chunk); i++ {
				if i < len(chunk) && isWord(chunk[i]) {
					continue
				}
				word = append(word, chunk[start:i]...)
				if i < len(chunk) {
					add()
				}
				start = i + 1
			}
			in.Discard(len(chunk))
			continue
		}
		add()
		for w, p := range at {
			n[w] += *p
		}
		if err == io.EOF {
			return nil
		}
		return err
	}
}

func (n counts) merge(o counts) {
	for w, c := range o {
		n[w] += c
	}
}

func (n counts) total() (sum uint64) {
	for _, c := range n {
		sum += c
	}
	return sum
}

// text is one line per word, "word count", in the order of the words: equal counts are
// equal texts.
func (n counts) text() []byte {
	var b []byte
	for _, w := range slices.Sorted(maps.Keys(n)) {
		b = append(b, w...)
		b = append(b, ' ')
		b = strconv.AppendUint(b, n[w], 10)
		b = append(b, '\n')
	}
	return b
}

// parse reads what text wrote, and nothing else.
func parse(text []byte) (counts, error) {
	n := make(counts)
	last := ""
	for line := range bytes.Lines(text) {
		w, number, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
		c, err := strconv.ParseUint(string(number), 10, 64)
		if !ok || err != nil || c == 0 || len(w) == 0 || string(w) <= last || !bytes.HasSuffix(line, []byte("\n")) {
			return nil, fmt.Errorf("%.40q is not a line of counts", line)
		}
		last = string(w)
		n[last] = c
	}
	return n, nil
}

// top is the k most frequent words.
func (n counts) top(k int) []string {
	words := slices.SortedFunc(maps.Keys(n), func(a, b string) int {
		return cmp.Or(cmp.Compare(n[b], n[a]), cmp.Compare(a, b))
	})
	return words[:min(k, len(words))]
}
