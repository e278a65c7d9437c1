import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub } from '../../support/filled-hub.ts';
import { withDeadline } from '../../support/wait.ts';

/** An answer as `statuses [Allow] [OCI code]`; a HEAD has no body, and so no code. */
type Case = readonly [sent: string, answer: string];

const ZEROS = '0'.repeat(64);

const TARGETS: readonly Case[] = [
  ['/v2/library%2Fplain/manifests/latest', '404 NAME_UNKNOWN'],
  ['/v2/library/plain/manifests/latest%2F', '404 NAME_UNKNOWN'],
  ['/v2/library%5Cplain/manifests/latest', '404 NAME_INVALID'],
  ['/v2/library\\plain/manifests/latest', '404 NAME_INVALID'],
  ['/v2\\library/plain/manifests/latest', '404 NAME_UNKNOWN'],
  ['\\v2/', '400 UNSUPPORTED'],
  ['/v2/?x=\\', '200'],
  ['/v2/library/../library/plain/manifests/latest', '404 NAME_INVALID'],
  ['/v2/../v2/', '404 NAME_UNKNOWN'],
  ['/v2/.', '404 NAME_UNKNOWN'],
  ['/v2/library/plain/manifests/..', '404 MANIFEST_UNKNOWN'],
  ['/v2/library/plain/manifests/.', '404 MANIFEST_UNKNOWN'],
  ['/healthz/../v2/', '404 NAME_UNKNOWN'],
  ['//v2/', '404 NAME_UNKNOWN'],
  [`/v2/library/plain/blobs/sha256%3A${ZEROS}`, '404 BLOB_UNKNOWN'],
  [`/v2/library/plain/manifests/sha256%3A${ZEROS}`, '404 MANIFEST_UNKNOWN'],
  ['/v2/library/plain/m%61nifests/latest', '200'],
  ['/v2/_cat%61log', '200'],
  ['/%76%32/', '404 NAME_UNKNOWN'],
  ['/v2/library/plain/manifests/%', '404 NAME_UNKNOWN'],
  ['/v2/library/plain/manifests/%25', '404 MANIFEST_UNKNOWN'],
  ['/v2/library/pl%2561in/manifests/latest', '404 NAME_INVALID'],
  ['/v2/library/plain/manifests/%ff', '404 NAME_UNKNOWN'],
  ['/v2/library/plain/manifests/manifests', '404 MANIFEST_UNKNOWN'],
  ['/v2/library/plain/manifests/manifests-2', '404 MANIFEST_UNKNOWN'],
  ['/v2/a/manifests/b/manifests/c', '404 NAME_UNKNOWN'],
  ['/v2/library/plain/manifests/latest/', '404 NAME_UNKNOWN'],
  ['/v2/library/plain/manifests/a%0Ab', '404 MANIFEST_UNKNOWN'],
  ['/v2/library%0A/plain/manifests/latest', '404 NAME_INVALID'],
  ['/v2/library/plain/manifests/lat\u00e9st', '400 UNSUPPORTED'],
  ['/v2/library/plain/manifests/latest#x', '404 MANIFEST_UNKNOWN'],
  ['/v2/#x', '404 NAME_UNKNOWN'],
  ['/v2/?', '200'],
  ['/v2?', '200'],
  ['/v2', '200'],
  ['/v2/?ns=docker.io', '200'],
  ['/v2/x', '404 NAME_UNKNOWN'],
  ['/v2/_catalog', '200'],
  ['/v2/_catalog/', '404 NAME_UNKNOWN'],
  ['/v2/_catalog?n=1', '200'],
  ['/v2/tags/list', '404 NAME_UNKNOWN'],
  ['/v2/library/plain/tags/list', '200'],
  ['/v2/library/plain/tags/other', '404 NAME_UNKNOWN'],
  ['/v2/:name/manifests/:reference', '404 NAME_INVALID'],
  ['/healthz', '200'],
  ['/healthz?x', '404 NAME_UNKNOWN'],
  ['/healthz/', '404 NAME_UNKNOWN'],
  ['/%68ealthz', '404 NAME_UNKNOWN'],
  ['/readyz', '200'],
  ['/', '404 NAME_UNKNOWN'],
  ['/unknown', '404 NAME_UNKNOWN'],
  ['http://registry-1.docker.io/v2/library/plain/manifests/latest', '200'],
  ['HTTPS://x/v2/', '200'],
  ['http://x', '404 NAME_UNKNOWN'],
  ['http://x/', '404 NAME_UNKNOWN'],
  ['http://x?y', '404 NAME_UNKNOWN'],
  ['http:///v2/', '200'],
  ['http://x/healthz', '200'],
  ['http://a\\b/v2/', '400 UNSUPPORTED'],
  ['ftp://x/v2/', '404 NAME_UNKNOWN'],
  ['*', '404 NAME_UNKNOWN'],
  ['x://y', '404 NAME_UNKNOWN'],
];

const METHODS: readonly Case[] = [
  ['HEAD /v2/library/plain/manifests/latest', '200'],
  ['HEAD /healthz', '200'],
  ['HEAD /unknown', '404'],
  ['HEAD /v2/_catalog', '200'],
  ['HEAD /v2/library%2Fplain/manifests/latest', '404'],
  ['POST /v2/', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['TRACE /v2/', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['OPTIONS /v2/', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['PUT /v2/', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['DELETE /v2/', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['PATCH /v2/', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['PROPFIND /v2/', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['M-SEARCH /v2/', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['OPTIONS *', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['POST /healthz', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['POST /unknown', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['POST http://x/v2/', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['POST \\', '400 UNSUPPORTED'],
];

/** All of them get the manifest: which host a client means says nothing here. */
const HOSTS = [
  '',
  'a b',
  'a/b',
  '[::1',
  'user@host',
  '%zz',
  'm:99999',
  'a\\b',
  '\u00e9',
  'a\tb',
  'M',
  '?',
  '#',
];

const REQUESTS: readonly Case[] = [
  ['GET /v2/ HTTP/1.0\r\n\r\n', '200'],
  ['GET /v2/library/plain/manifests/latest HTTP/1.0\r\n\r\n', '200'],
  ['HEAD /v2/ HTTP/1.0\r\n\r\n', '200'],
  ['OPTIONS /v2/ HTTP/1.0\r\n\r\n', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n', '400 UNSUPPORTED'],
  ['GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: a\r\nConnection: close\r\n\r\n', '400 UNSUPPORTED'],
  ['GET /v2/ HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n', '400 UNSUPPORTED'],
  ['GET /v2/ HTTP/1.1\r\nHost: m\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n', '100 200'],
  ['GET /v2/ HTTP/1.1\r\nHost: m\r\nExpect: the-unexpected\r\nConnection: close\r\n\r\n', '200'],
  [
    'PUT /v2/a/manifests/b HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nhello',
    '100 405 Allow: GET, HEAD UNSUPPORTED',
  ],
  [
    'POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
    '405 Allow: GET, HEAD UNSUPPORTED',
  ],
  ['CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n', '405 Allow: GET, HEAD UNSUPPORTED'],
  ['GET /v2/ HTTP/1.1\r\nHost: m\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n', '200'],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '400 UNSUPPORTED'],
  ['GET v2/ HTTP/1.1\r\nHost: m\r\n\r\n', '400 UNSUPPORTED'],
  ['get /v2/ HTTP/1.1\r\nHost: m\r\n\r\n', '400 UNSUPPORTED'],
  [
    'GET /v2/library/plain/manifests/latest HTTP/1.1\r\nHost: m\r\nIf-None-Match: *\r\nConnection: close\r\n\r\n',
    '304',
  ],
];

/** What the server says to these bytes, until it closes the connection. */
async function answerTo(app: TestApp, bytes: string): Promise<string> {
  const { hostname, port } = new URL(app.url);
  const socket = connect(Number(port), hostname);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const closed = new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('close', () => resolve());
  });
  socket.write(bytes, 'latin1');
  await withDeadline(closed, `the end of ${JSON.stringify(bytes)}`);
  return summary(Buffer.concat(chunks).toString('latin1'));
}

function summary(text: string): string {
  const found = text.matchAll(/HTTP\/1\.1 (?<status>\d+)|^(?<allow>allow: [^\r]*)|"code":"(?<code>\w+)"/gim);
  return [...found]
    .map(({ groups }) => groups?.['status'] ?? groups?.['allow'] ?? groups?.['code'])
    .join(' ');
}

/** Asks all of them, and compares what came with what is to come. */
async function check(
  cases: readonly (readonly [sent: string, bytes: string, answer: string])[],
): Promise<void> {
  const app = await startTestApp({ hub: await filledHub() });
  const answers: Case[] = [];
  for (const [sent, bytes] of cases) answers.push([sent, await answerTo(app, bytes)]);
  expect(answers).toEqual(cases.map(([sent, , answer]) => [sent, answer]));
  expect(app.log.filter(({ msg }) => msg === 'internal error')).toEqual([]);
}

it('answers each target as it was sent', async () => {
  await check(
    TARGETS.map(([sent, answer]) => [
      sent,
      `GET ${sent} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n`,
      answer,
    ]),
  );
});

it('answers each method', async () => {
  await check(
    METHODS.map(([sent, answer]) => [
      sent,
      `${sent} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n`,
      answer,
    ]),
  );
});

it('takes any Host', async () => {
  const line = 'GET /v2/library/plain/manifests/latest HTTP/1.1';
  await check(HOSTS.map((host) => [host, `${line}\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, '200']));
});

it('answers each request that few clients send', async () => {
  await check(REQUESTS.map(([sent, answer]) => [sent, sent, answer]));
});
