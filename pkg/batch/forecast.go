package batch

import "time"

// Forecast says when the last of the batches that an instance holds will be answered; zero while nothing is known of the model. It is for showing how well the model
// is known.
func (f *Fresh) Forecast(instance int, flights []Flight) time.Time {
	f.know(instance + 1)
	if len(flights) == 0 || !f.profile.known() {
		return time.Time{}
	}
	free, _ := f.outlook(&f.instances[instance], flights)
	return free.Add(f.net)
}
