// One span of a client, sent by zipkin-go: client URL json|proto3
package main

import (
	"os"
	"time"

	"github.com/openzipkin/zipkin-go"
	"github.com/openzipkin/zipkin-go/model"
	"github.com/openzipkin/zipkin-go/proto/zipkin_proto3"
	"github.com/openzipkin/zipkin-go/reporter"
	"github.com/openzipkin/zipkin-go/reporter/http"
)

func main() {
	var serializer reporter.SpanSerializer = reporter.JSONSerializer{}
	if os.Args[2] == "proto3" {
		serializer = zipkin_proto3.SpanSerializer{}
	}
	sender := http.NewReporter(os.Args[1], http.Serializer(serializer))
	local, _ := zipkin.NewEndpoint("shop", "")
	remote, _ := zipkin.NewEndpoint("cart", "10.0.0.7:8080")
	tracer, err := zipkin.NewTracer(sender, zipkin.WithLocalEndpoint(local))
	if err != nil {
		panic(err)
	}
	span := tracer.StartSpan("get /item", zipkin.Kind(model.Client), zipkin.RemoteEndpoint(remote))
	span.Tag("http.path", "/item/ü")
	time.Sleep(time.Millisecond) // else it may take no microsecond, which proto3 leaves out
	span.Finish()
	if sender.Close() != nil {
		os.Exit(1)
	}
}
