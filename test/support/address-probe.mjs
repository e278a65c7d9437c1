/** Run in a network of its own: what a registry at some address can get Pierhead to dial. Prints what came of it as JSON. */
import { createServer } from 'node:http';
import { createUpstream } from '../../dist/upstream/registry/client.js';

/** @type {import('./own-network.ts').AddressProbe} */
const { registry, redirects, names } = JSON.parse(process.argv[2] ?? '');

// No proxy is to be had in here.
for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
  delete process.env[name];
  delete process.env[name.toLowerCase()];
}

const seen = [];
const inside = createServer((request, response) => {
  seen.push(request.headers.host);
  response.writeHead(404).end();
});
const outside = createServer((request, response) => {
  const location = redirects[Number(/(\d+)$/.exec(request.url ?? '')?.[1])];
  // Each redirect is asked for over a new connection, so the registry's name is looked up again.
  response.writeHead(location === undefined ? 404 : 307, { location, connection: 'close' }).end();
});
const listening = (server, port) => new Promise((resolve) => server.listen(port, '::', resolve));
await Promise.all([listening(outside, 5000), listening(inside, 6000)]);

const upstream = createUpstream({
  host: 'registry.test',
  url: registry,
  connectTimeoutMs: 5000,
  headersTimeoutMs: 8000,
  idleTimeoutMs: 8000,
  userAgent: 'pierhead/0.0.0-test',
  pullLimit: { lowShare: 0, reserve: 0 },
  tell: () => undefined,
  resolve(hostname, _options, callback) {
    const [first, ...later] = names[hostname] ?? [];
    if (later.length > 0) names[hostname] = later;
    callback(null, first === undefined ? [] : [{ address: first, family: 4 }]);
  },
});
const outcomes = [];
for (const [tag] of redirects.entries()) {
  const reference = { kind: 'tag', tag: `t${tag}` };
  const outcome = await upstream.getManifest('a/b', reference, { identity: 'anonymous' });
  outcomes.push(outcome.kind === 'unavailable' ? outcome.reason : outcome.kind);
}
process.stdout.write(JSON.stringify({ seen, outcomes }));
process.exit(0);
