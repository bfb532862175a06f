// Command adapter serves what Prometheus knows of pods as Kubernetes' custom metrics, for HorizontalPodAutoscalers. It does for one cluster of the tests what prometheus-adapter does for
// any, whose module the Go proxy does not have.
//
//	adapter --prometheus http://127.0.0.1:9090 --metric 'sluice_router_pressure=max by (pod) (sluice_router_pressure{namespace="$namespace"})' …
//
// Each --metric names a metric and the query that gives it, one number for each value of the label pod; $namespace stands for the pods' namespace.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/cmd/options"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/dynamicmapper"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "adapter:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It is what the module's pkg/cmd does, without the schemas that it was generated with: those are of another version of Kubernetes than the node's.
func run(ctx context.Context, arguments []string) error {
	server := options.NewCustomMetricsAdapterServerOptions()
	flags := pflag.NewFlagSet("adapter", pflag.ContinueOnError)
	server.AddFlags(flags)
	kubeconfig := flags.String("kubeconfig", "", "`file` that tells how to reach the API server")
	prometheus := flags.String("prometheus", "http://127.0.0.1:9090", "`address` of Prometheus")
	metrics := flags.StringArray("metric", nil, "`name=query` of a metric of pods")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	queries, err := parse(*metrics)
	if err != nil {
		return err
	}
	cluster, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	provider, err := newPods(cluster, *prometheus, queries)
	if err != nil {
		return err
	}
	config, shared, err := configure(server, cluster)
	if err != nil {
		return err
	}
	api, err := (&apiserver.Config{GenericConfig: &config.Config}).Complete(shared).New("adapter", provider, nil)
	if err != nil {
		return err
	}
	return api.GenericAPIServer.PrepareRun().RunWithContext(ctx)
}

// configure makes the configuration of a server that has the cluster say who may ask.
func configure(server *options.CustomMetricsAdapterServerOptions, cluster *rest.Config) (*genericapiserver.RecommendedConfig, informers.SharedInformerFactory, error) {
	if err := errors.Join(server.Validate()...); err != nil {
		return nil, nil, err
	}
	client, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		return nil, nil, err
	}
	config := genericapiserver.NewRecommendedConfig(apiserver.Codecs)
	config.ClientConfig = cluster
	config.SharedInformerFactory = informers.NewSharedInformerFactory(client, 0)
	config.SkipOpenAPIInstallation = true
	if err := server.ApplyTo(config); err != nil {
		return nil, nil, err
	}
	return config, config.SharedInformerFactory, nil
}

// newPods makes the provider.
func newPods(cluster *rest.Config, prometheus string, queries map[string]string) (*pods, error) {
	client, err := dynamic.NewForConfig(cluster)
	if err != nil {
		return nil, err
	}
	discover, err := discovery.NewDiscoveryClientForConfig(cluster)
	if err != nil {
		return nil, err
	}
	mapper, err := dynamicmapper.NewRESTMapper(discover, time.Minute)
	if err != nil {
		return nil, err
	}
	return &pods{client: client, mapper: mapper, prometheus: prometheus, queries: queries}, nil
}
