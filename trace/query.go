package trace

import (
	"fmt"
	"net/url"
	"time"
)

// Query describes a trace that a reader requests.
type Query struct {
	Filter
	Bodies   bool          // with messages
	Since    time.Duration // also calls that ended in this time before the request; 0 for none
	NoFollow bool          // only these calls
}

// Values returns the query as URL query values for [ParseQuery].
func (q Query) Values() url.Values {
	values := q.Filter.Values()
	if q.Bodies {
		values.Set("body", "true")
	}
	if q.Since > 0 {
		values.Set("since", q.Since.String())
	}
	if q.NoFollow {
		values.Set("follow", "false")
	}
	return values
}

// ParseQuery parses the result of [Query.Values].
func ParseQuery(values url.Values) (q Query, err error) {
	if q.Filter, err = ParseFilter(values); err != nil {
		return q, err
	}
	q.Bodies, q.NoFollow = values.Has("body"), values.Get("follow") == "false"
	if since := values.Get("since"); since != "" {
		if q.Since, err = time.ParseDuration(since); err != nil {
			return q, fmt.Errorf("since: %w", err)
		}
	}
	return q, q.Check()
}

// Check returns an error if the filter is invalid or the durations do not fit.
func (q Query) Check() error {
	switch {
	case q.Since < 0:
		return fmt.Errorf("since: found duration %s, expected a positive one", q.Since)
	case q.NoFollow && q.Since == 0:
		return fmt.Errorf("found no-follow without since, expected both: without earlier calls there is nothing to show")
	}
	return q.Filter.Check()
}
