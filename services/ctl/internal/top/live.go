package top

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// around is how many lines of the screen are not rows.
const around = 7

// live shows a table that is drawn anew at each look, until ctx ends or the user quits.
func live(ctx context.Context, cfg Config, look func(context.Context) (*sluicev1.ListSessionsResponse, error), by int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends what Bubble Tea's commands still wait for
	m := screen{order: order{by: by}, look: func() tea.Msg {
		sessions, err := look(ctx)
		return looked{sessions, time.Now(), err}
	}, pause: func() tea.Msg {
		timer := time.NewTimer(cfg.Every)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		return again{}
	}}
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(cfg.In), tea.WithOutput(cfg.Out), tea.WithoutSignalHandler()).Run()
	if ctx.Err() != nil || errors.Is(err, tea.ErrInterrupted) {
		return nil // whoever interrupts it has seen enough
	}
	return err
}

// screen is the state of the table; Bubble Tea's loop owns it.
type screen struct {
	look   tea.Cmd
	pause  tea.Cmd // until the time for another look
	order  order
	height int
	rows   []row
	err    error // of the last look
}

// looked is what a look gave.
type looked struct {
	sessions *sluicev1.ListSessionsResponse
	at       time.Time
	err      error
}

// again is the time for another look.
type again struct{}

// Init implements tea.Model.
func (s screen) Init() tea.Cmd { return s.look }

// Update implements tea.Model.
func (s screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case looked:
		if s.err = msg.err; msg.err == nil {
			s.rows = rowsOf(msg.sessions, msg.at)
		}
		return s, s.pause
	case again:
		return s, s.look
	case tea.WindowSizeMsg:
		s.height = msg.Height
	case tea.KeyPressMsg:
		return s.press(msg.String())
	}
	return s, nil
}

// press acts on a key: that of a column sorts by it, and pressed again, the other way round.
func (s screen) press(key string) (tea.Model, tea.Cmd) {
	switch key {
	case "q", "esc", "ctrl+c":
		return s, tea.Quit
	}
	i := slices.IndexFunc(columns(), func(c column) bool { return c.key == key })
	if i >= 0 {
		s.order = order{by: i, reversed: s.order.by == i && !s.order.reversed}
	}
	return s, nil
}

// View implements tea.Model.
func (s screen) View() tea.View {
	limit := 0
	if s.height > 0 { // else the terminal has not told yet
		limit = max(1, s.height-around)
	}
	text := render(slices.Clone(s.rows), s.order, limit) + "\n\n"
	if s.err != nil {
		text += s.err.Error() + "\n"
	}
	text += "sort by:"
	for _, c := range columns() {
		text += fmt.Sprintf(" %s %s", c.key, c.name)
	}
	v := tea.NewView(text + "; q quits")
	v.AltScreen = true
	return v
}
