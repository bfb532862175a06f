package contest

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
)

// Row is one run, as it stands in the CSV file: what was run, what came of it, and how the machine was. Times are milliseconds as they were, dilated; rates are frames a second.
type Row struct {
	Alpha     float64 `csv:"alpha"` // undilated, as Beta and Load
	Beta      float64 `csv:"beta"`
	Instances int     `csv:"instances"`
	Load      float64 `csv:"load"`
	Shape     string  `csv:"shape"`
	Policy    string  `csv:"policy"`
	Settings  string  `csv:"settings"`
	Seed      uint64  `csv:"seed"`
	Dilation  float64 `csv:"dilation"`
	SLO       float64 `csv:"slo"`
	// Bound is the upper bound of the goodput: what was offered, or what the model as it was measured can do.
	Bound   float64 `csv:"bound"`
	Streams int     `csv:"streams"`
	// Capacity is what the model, as it was measured, can answer in time, in frames a second; Predicted is what the router says of that at the end of the run, 0 for the others.
	Capacity  float64 `csv:"capacity"`
	Predicted float64 `csv:"predicted"`

	Offered  float64 `csv:"offered"`
	Goodput  float64 `csv:"goodput"`
	Late     float64 `csv:"late"` // part of what the model was asked: answered after the SLO, or given up then
	P50      float64 `csv:"p50"`
	P99      float64 `csv:"p99"`
	MeanAge  float64 `csv:"mean_age"`
	WorstAge float64 `csv:"worst_age"`
	Share    float64 `csv:"worst_share"`
	Jain     float64 `csv:"jain"`
	Batch    float64 `csv:"batch"` // mean size at the server

	Frames     int `csv:"frames"`
	Answered   int `csv:"answered"`
	Superseded int `csv:"superseded"`
	Expired    int `csv:"expired"`
	Shed       int `csv:"shed"`
	TimedOut   int `csv:"timed_out"`
	Failed     int `csv:"failed"`
	Unanswered int `csv:"unanswered"`
	// Wasted counts frames that were dropped, and that the model saw all the same.
	Wasted int `csv:"wasted"`
	// InFlight is the most requests that were at the server at once, for each instance.
	InFlight float64 `csv:"in_flight"`
	// Sizes are the batches by size, "size:count" in order.
	Sizes string `csv:"sizes"`

	Busy      float64 `csv:"cpu"` // part of all processors
	Lateness  float64 `csv:"lateness_p99"`
	Overshoot float64 `csv:"overshoot_p99"`
	// Void says why the run does not count.
	Void string `csv:"void"`
}

// columns gives the names of the columns.
func columns() (names []string) {
	t := reflect.TypeFor[Row]()
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("csv"))
	}
	return names
}

// digits is how exact numbers are in the file.
const digits = 6

// record gives the row's fields as text.
func (r *Row) record() (fields []string) {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		if f, is := v.Field(i).Interface().(float64); is {
			fields = append(fields, strconv.FormatFloat(f, 'g', digits, 64))
			continue
		}
		fields = append(fields, fmt.Sprint(v.Field(i).Interface()))
	}
	return fields
}

// parse reads the row's fields.
func (r *Row) parse(fields []string) error {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		var err error
		switch f := v.Field(i); f.Kind() {
		case reflect.Float64:
			var x float64
			if x, err = strconv.ParseFloat(fields[i], 64); err == nil && (math.IsNaN(x) || math.IsInf(x, 0)) {
				err = errors.New("it is not finite")
			}
			f.SetFloat(x)
		case reflect.Int:
			var x int64
			x, err = strconv.ParseInt(fields[i], 10, 64)
			f.SetInt(x)
		case reflect.Uint64:
			var x uint64
			x, err = strconv.ParseUint(fields[i], 10, 64)
			f.SetUint(x)
		default:
			f.SetString(fields[i])
		}
		if err != nil {
			return fmt.Errorf("%s is %q: %w", columns()[i], fields[i], err)
		}
	}
	return nil
}

// writeRows writes rows as CSV with a header.
func writeRows(to io.Writer, rows []Row) error {
	w := csv.NewWriter(to)
	if err := w.Write(columns()); err != nil {
		return err
	}
	for i := range rows {
		if err := w.Write(rows[i].record()); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// readRows reads what writeRows wrote.
func readRows(from io.Reader) ([]Row, error) {
	r := csv.NewReader(from)
	r.FieldsPerRecord = len(columns())
	all, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	if len(all) == 0 || all[0][0] != columns()[0] {
		return nil, errors.New("the first line does not name the columns")
	}
	rows := make([]Row, len(all)-1)
	for i := range rows {
		if err := rows[i].parse(all[i+1]); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
	}
	return rows, nil
}
