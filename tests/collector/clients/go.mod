module client

go 1.21

require github.com/openzipkin/zipkin-go v0.4.3
