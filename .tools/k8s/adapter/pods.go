package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/metrics/pkg/apis/custom_metrics"

	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider/helpers"
)

// queryLimit bounds a question to Prometheus, well within the controller's own patience.
const queryLimit = 5 * time.Second

// pods gives metrics of pods. It keeps nothing, and is safe for concurrent use.
type pods struct {
	client     dynamic.Interface
	mapper     apimeta.RESTMapper
	prometheus string
	queries    map[string]string // by the metric's name
}

var _ provider.CustomMetricsProvider = (*pods)(nil)

// parse reads name=query texts.
func parse(metrics []string) (map[string]string, error) {
	queries := map[string]string{}
	for _, text := range metrics {
		name, query, ok := strings.Cut(text, "=")
		if !ok || name == "" || query == "" {
			return nil, fmt.Errorf("--metric: %q is not name=query", text)
		}
		queries[name] = query
	}
	if len(queries) == 0 {
		return nil, errors.New("--metric: at least one is needed")
	}
	return queries, nil
}

// ListAllMetrics implements provider.CustomMetricsProvider.
func (p *pods) ListAllMetrics() (all []provider.CustomMetricInfo) {
	for name := range p.queries {
		all = append(all, provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: name})
	}
	return all
}

// GetMetricByName implements provider.CustomMetricsProvider.
func (p *pods) GetMetricByName(ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValue, error) {
	values, err := p.ask(ctx, name.Namespace, info)
	if err != nil {
		return nil, err
	}
	value, known := values[name.Name]
	if !known {
		return nil, provider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name)
	}
	return p.metric(name, info, value)
}

// GetMetricBySelector implements provider.CustomMetricsProvider. Pods of which Prometheus knows nothing yet are left out, as the controller expects.
func (p *pods) GetMetricBySelector(ctx context.Context, namespace string, selector labels.Selector, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValueList, error) {
	values, err := p.ask(ctx, namespace, info)
	if err != nil {
		return nil, err
	}
	names, err := helpers.ListObjectNames(p.mapper, p.client, namespace, selector, info)
	if err != nil {
		return nil, err
	}
	list := &custom_metrics.MetricValueList{}
	for _, name := range names {
		value, known := values[name]
		if !known {
			continue
		}
		metric, err := p.metric(types.NamespacedName{Namespace: namespace, Name: name}, info, value)
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, *metric)
	}
	return list, nil
}

func (p *pods) metric(name types.NamespacedName, info provider.CustomMetricInfo, value resource.Quantity) (*custom_metrics.MetricValue, error) {
	object, err := helpers.ReferenceFor(p.mapper, name, info)
	if err != nil {
		return nil, err
	}
	return &custom_metrics.MetricValue{
		DescribedObject: object, Metric: custom_metrics.MetricIdentifier{Name: info.Metric}, Timestamp: metav1.Now(), Value: value,
	}, nil
}

// ask gives the metric's value for each pod of the namespace.
func (p *pods) ask(ctx context.Context, namespace string, info provider.CustomMetricInfo) (map[string]resource.Quantity, error) {
	query, known := p.queries[info.Metric]
	if !known || info.GroupResource.Resource != "pods" {
		return nil, provider.NewMetricNotFoundError(info.GroupResource, info.Metric)
	}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	target := p.prometheus + "/api/v1/query?query=" + url.QueryEscape(strings.ReplaceAll(query, "$namespace", namespace))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"` // time, and the number as a text
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s: %w", p.prometheus, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", p.prometheus, response.Status, answer.Error)
	}
	values := map[string]resource.Quantity{}
	for _, series := range answer.Data.Result {
		text, _ := series.Value[1].(string)
		value, err := resource.ParseQuantity(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %s is %q: %w", p.prometheus, info.Metric, text, err)
		}
		values[series.Metric["pod"]] = value
	}
	return values, nil
}
