// One span of a client, sent by npm's zipkin: node client.js URL JSON_V1|JSON_V2
const { Annotation, BatchRecorder, ExplicitContext, InetAddress, Tracer, jsonEncoder } = require("zipkin");
const { HttpLogger } = require("zipkin-transport-http");

const [endpoint, encoding] = process.argv.slice(2);
const logger = new HttpLogger({ endpoint, jsonEncoder: jsonEncoder[encoding], httpInterval: 10 });
logger.on("success", () => process.exit(0));
logger.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
setTimeout(() => process.exit(1), 20_000); // the logger's own timer does not keep the process alive
const recorder = new BatchRecorder({ logger });
const tracer = new Tracer({ ctxImpl: new ExplicitContext(), recorder, localServiceName: "shop" });
tracer.scoped(() => {
  tracer.setId(tracer.createRootId());
  tracer.recordServiceName("shop");
  tracer.recordRpc("get /item");
  tracer.recordBinary("http.path", "/item/ü");
  tracer.recordAnnotation(new Annotation.ClientSend());
  tracer.recordAnnotation(
    new Annotation.ServerAddr({ serviceName: "cart", host: new InetAddress("10.0.0.7"), port: 8080 }),
  );
  tracer.recordAnnotation(new Annotation.ClientRecv());
});
