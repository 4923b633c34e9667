package service

import (
	"context"
	"net/http"
	"time"

	"github.com/stoa-kernel/stoa/sdk/operator"
	"github.com/stoa-kernel/stoa/service/why"
)

// whatIfTimeout bounds the wait for all masters together: who asks why can do without.
const whatIfTimeout = 3 * time.Second

// whatIf asks the masters what is in the way of resources for a role. Without an answer
// it says so.
func whatIf(masters []string, client *http.Client) func(ctx context.Context, role, resources string) *why.Kernel {
	return func(ctx context.Context, role, resources string) *why.Kernel {
		ctx, cancel := context.WithTimeout(ctx, whatIfTimeout)
		defer cancel()
		k := new(why.Kernel)
		for _, m := range masters {
			e, err := operator.New(m, client).WhatIf(ctx, role, resources)
			if err == nil {
				return &why.Kernel{Lines: e.Lines, Facts: e.Facts}
			}
			k.Failed = err.Error()
		}
		return k
	}
}
