// Starts one fauxqs: node fauxqs.mjs <port> <region> [host]. Without a host it is loopback.
//
// The package's own command listens on every interface, and it loads node:sqlite for a
// persistence that is not used here and that Node has only since version 22.5.
import { isBuiltin, register } from "node:module";

if (!isBuiltin("node:sqlite")) {
  const hook = `export function resolve(specifier, context, next) {
    if (specifier !== "node:sqlite") return next(specifier, context);
    return { url: "data:text/javascript,export class DatabaseSync {}", shortCircuit: true };
  }`;
  register("data:text/javascript," + encodeURIComponent(hook));
}

const { buildApp } = await import("fauxqs");
const [port, region, host = "127.0.0.1"] = process.argv.slice(2);
const app = buildApp({ logger: false, defaultRegion: region });
await app.listen({ port: Number(port), host });
