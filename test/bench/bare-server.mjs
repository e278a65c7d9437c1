/**
 * What Node itself takes of an answer: `node bare-server.mjs <port> <upstream>`. It asks upstream once for each path,
 * and sends the body with the headers that Pierhead sends from then on. It checks, counts and logs nothing.
 */
import { createServer, request } from 'node:http';
import { buffer } from 'node:stream/consumers';

const KEEP_ALIVE_MS = 90_000;

const [port, upstream] = process.argv.slice(2);
const answers = new Map();

const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (incoming, outgoing) => {
  const answer = answers.get(incoming.url);
  if (answer === undefined) learn(incoming, outgoing);
  else outgoing.writeHead(200, answer.headers).end(answer.body);
});
server.listen(Number(port), '127.0.0.1');

function learn({ url, headers: { accept } }, outgoing) {
  const asked = request(`${upstream}${url}`, { headers: accept === undefined ? {} : { accept } });
  asked.on('response', async (response) => {
    const body = await buffer(response);
    const { 'content-type': type, 'docker-content-digest': digest } = response.headers;
    // A flat array: Node would convert any other form to one.
    const headers = Object.entries({
      'Docker-Content-Digest': digest ?? '',
      ETag: `"${digest}"`,
      'Docker-Distribution-API-Version': 'registry/2.0',
      'Cache-Status': 'pierhead; hit',
      Vary: 'Accept, User-Agent',
      'Content-Type': type ?? 'application/json',
      'Content-Length': String(body.length),
    }).flat();
    if (response.statusCode === 200) answers.set(url, { headers, body });
    outgoing.writeHead(response.statusCode ?? 502, headers).end(body);
  });
  asked.on('error', () => outgoing.writeHead(502).end());
  asked.end();
}
