package publish

import (
	"cmp"
	"fmt"
	"time"
)

// The causes of a session's end before its time, as the report tells them.
const (
	causeDrain  = "the edge asked it to leave"
	causeSilent = "the edge fell silent"
	causeEnded  = "the edge ended it"
)

const (
	// An edge that has been silent for pingAfter is asked whether it is there, and counts as lost when it is still silent after lostAfter.
	pingAfter = 300 * time.Millisecond
	lostAfter = 1200 * time.Millisecond
	beatEvery = 150 * time.Millisecond
	// longestBeat is what one beat counts at the most: a process that did not run for a while has not read what came meanwhile.
	longestBeat = 2 * beatEvery
)

// watch waits until the session has to be replaced, or all has been sent.
func (v *visit) watch() {
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	last, silence := time.Now(), time.Duration(0)
	for {
		select {
		case <-v.sent.happened:
			return
		case <-v.drained.happened:
			v.lose(causeDrain)
			return
		case <-v.over.happened:
			if !v.sent.has() {
				v.lose(causeEnded)
			}
			return
		case <-v.heard:
			silence = 0
			continue
		case <-beat.C:
		}
		now := time.Now()
		silence += min(now.Sub(last), longestBeat)
		last = now
		select {
		case <-v.heard:
			silence = 0
		default:
		}
		if silence >= lostAfter {
			v.lose(causeSilent)
			return
		}
		if silence >= pingAfter {
			v.ping(now)
		}
	}
}

// lose tells that another session is needed and why, unless that is known.
func (v *visit) lose(cause string) {
	v.mu.Lock()
	v.cause = cmp.Or(v.cause, cause)
	v.mu.Unlock()
	v.lost.happen()
}

// ping asks the edge for a sign of life. Its id is the time, so that nothing has to be remembered.
func (v *visit) ping(now time.Time) {
	_ = v.connection.channel.SendText(fmt.Sprintf(`{"ping":{"id":%d}}`, uint32(now.UnixMilli())))
}
