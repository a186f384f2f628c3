import brave.Span;
import brave.Tracing;
import zipkin2.reporter.AsyncReporter;
import zipkin2.reporter.Encoding;
import zipkin2.reporter.SpanBytesEncoder;
import zipkin2.reporter.brave.ZipkinSpanHandler;
import zipkin2.reporter.urlconnection.URLConnectionSender;

/** One span of a client in each encoding, sent by Brave and Zipkin's reporter: java Client.java URL ENCODING... */
class Client {
  public static void main(String[] args) throws Exception {
    for (int i = 1; i < args.length; i++) {
      SpanBytesEncoder encoder = SpanBytesEncoder.valueOf(args[i]);
      String version = encoder == SpanBytesEncoder.JSON_V1 || encoder == SpanBytesEncoder.THRIFT ? "v1" : "v2";
      Encoding encoding = Encoding.valueOf(args[i].replaceAll("_V[12]", ""));
      URLConnectionSender sender =
          URLConnectionSender.newBuilder().endpoint(args[0] + "/api/" + version + "/spans").encoding(encoding).build();
      AsyncReporter<zipkin2.Span> reporter = AsyncReporter.builder(sender).build(encoder);
      Tracing tracing = Tracing.newBuilder()
          .localServiceName("shop-" + args[i].toLowerCase())
          .addSpanHandler(ZipkinSpanHandler.create(reporter))
          .build();
      Span span = tracing.tracer().newTrace().name("get /item").kind(Span.Kind.CLIENT).start();
      span.tag("http.path", "/item/ü").remoteServiceName("cart");
      span.remoteIpAndPort("10.0.0.7", 8080);
      span.finish();
      reporter.flush();
      reporter.close();
      sender.close();
      tracing.close();
    }
  }
}
