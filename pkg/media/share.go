package media

// Share is what a session is due of a model of which more is asked than it can answer. The zero value is what everybody has.
type Share struct {
	// Weight is how many times the answers of a stream of weight 1 each of the session's streams gets, up to MaxWeight; 0 means 1.
	Weight uint16
	// Class is 0 to MaxClass. Streams of class 0 are served before those of class 1, and so on, but each class has a twentieth of what there is at the least.
	Class uint8
}

// The bounds of a Share.
const (
	MaxWeight = 100
	MaxClass  = 3
)
