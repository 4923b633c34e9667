package http

import (
	"encoding/json"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/service/app"
)

// Levels is the level from which on the process logs, as /logging shows and changes it.
// There is one logger, ROOT.
type Levels struct {
	level *slog.LevelVar

	mu    sync.Mutex
	usual slog.Level  // what a change for a time goes back to
	reset *time.Timer // nil: nothing to go back to
}

// NewLevels is for a logger with that level; nil is one that nobody has.
func NewLevels(level *slog.LevelVar) *Levels {
	if level == nil {
		level = new(slog.LevelVar)
	}
	return &Levels{level: level, usual: level.Level()}
}

// levels under Marathon's names; the process logs nothing at TRACE that it does not at DEBUG.
var levels = []struct {
	name  string
	level slog.Level
}{
	{"TRACE", slog.LevelDebug - 4}, {"DEBUG", slog.LevelDebug}, {"INFO", slog.LevelInfo}, {"WARN", slog.LevelWarn}, {"ERROR", slog.LevelError},
	{"OFF", math.MaxInt32},
}

// change is the body of POST /logging.
type change struct {
	Logger          string `json:"logger"`
	Level           string `json:"level"`
	DurationSeconds *int32 `json:"durationSeconds,omitempty"`
}

func (l *Levels) set(to slog.Level, lasts *int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reset != nil {
		l.reset.Stop()
		l.reset = nil
	}
	l.level.Set(to)
	if lasts == nil {
		l.usual = to
		return
	}
	var t *time.Timer
	t = time.AfterFunc(time.Duration(*lasts)*time.Second, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.reset == t { // no other change came since
			l.level.Set(l.usual)
			l.reset = nil
		}
	})
	l.reset = t
}

func (c *call) logging() {
	name := c.Levels.level.Level().String()
	for _, one := range levels {
		if one.level == c.Levels.level.Level() {
			name = one.name
		}
	}
	c.send(http.StatusOK, map[string]string{"ROOT": name})
}

// changeLogging is POST /logging (as Marathon 1.10, api/SystemResource).
func (c *call) changeLogging() {
	in, ok := decoded(c, func(b []byte) (in change, err error) {
		if err := json.Unmarshal(b, &in); err != nil {
			return in, &app.Fault{Status: http.StatusBadRequest, Body: marathon.Error{Message: "Invalid JSON", Details: request.Clip(err.Error())}}
		}
		return in, nil
	})
	if !ok {
		return
	}
	if !strings.EqualFold(in.Logger, "ROOT") {
		c.refuse(http.StatusUnprocessableEntity, "There is one logger, ROOT")
		return
	}
	if in.DurationSeconds != nil && *in.DurationSeconds < 1 {
		c.refuse(http.StatusUnprocessableEntity, "durationSeconds is at least 1; leave it out for a change that stays")
		return
	}
	for _, one := range levels {
		if strings.EqualFold(one.name, in.Level) {
			c.Levels.set(one.level, in.DurationSeconds)
			c.send(http.StatusOK, in)
			return
		}
	}
	c.refuse(http.StatusUnprocessableEntity, "level is one of trace, debug, info, warn, error, off")
}
