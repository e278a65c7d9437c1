import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import type { Exchange } from '../../../src/http/registry/exchange.ts';
import { RequestError } from '../../../src/http/registry/errors.ts';
import { createRegistryServer, OpenAnswers } from '../../../src/http/registry/server.ts';
import { listen } from '../../../src/http/server/listener.ts';
import { fetchRaw } from '../../support/http.ts';
import { ADMISSION, registryOptions } from '../../support/registry-server.ts';
import { tellTo } from '../../support/told.ts';
import { eventually } from '../../support/wait.ts';

it('an error that cannot be sent ends its connection, and no other', async () => {
  const faults: unknown[] = [];
  const ended: string[] = [];
  const noHeader = new RequestError(403, 'DENIED', 'refused', { 'X-Reason': '\u{1f433}' });
  const options = registryOptions({
    admission: { ...ADMISSION, accounts: { authenticate: () => Promise.reject(noHeader) } },
    tell: tellTo({ request: ({ kind }) => ended.push(kind), fault: ({ error }) => faults.push(error) }),
  });
  const listener = await listen(createRegistryServer(options), { host: '127.0.0.1', port: 0 });
  onTestFinished(() => listener.cut());
  await expect(fetchRaw(`${listener.url}/v2/`)).rejects.toThrow();
  expect(faults).toMatchObject([{ code: 'ERR_INVALID_CHAR' }]);
  expect((await fetchRaw(`${listener.url}/healthz`)).status).toBe(200);
  await eventually(() => ended.length > 1, 'the ends of both');
  expect(ended).toEqual(['other', 'health']);
  expect(listener.answering).toBe(0);
});

it('a connection that cannot be accepted is told of, and the next one is served', async () => {
  const refused: unknown[] = [];
  const server = createRegistryServer(
    registryOptions({ tell: tellTo({ connectionRefused: (what) => refused.push(what) }) }),
  );
  const listener = await listen(server, { host: '127.0.0.1', port: 0 });
  onTestFinished(() => listener.cut());
  const error = Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' });
  server.emit('error', error);
  expect(refused).toEqual([{ why: 'accept', client: '', reason: 'accept EMFILE' }]);
  expect((await fetchRaw(`${listener.url}/healthz`)).status).toBe(200);
});

const AHEAD = 3;

it.each([
  ['waits for its turn', (): void => undefined],
  ['is finished before its turn', (response: ServerResponse): void => void response.end('{}')],
  ['was given up before its turn', (response: ServerResponse): void => void response.destroy()],
] as const)('an answer that %s is over once when the connection is', async (_, answer) => {
  const open = new OpenAnswers();
  const begun: IncomingMessage[] = [];
  const ended: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    open.begin({ request, response } as Exchange, (exchange) => ended.push(exchange.request));
    // The first is never answered, so that the others wait.
    if (begun.push(request) > 1) answer(response);
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const connection = connect((server.address() as AddressInfo).port, '127.0.0.1');
  connection.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(AHEAD));
  await eventually(() => begun.length === AHEAD, 'all requests');
  connection.destroy();
  await eventually(() => begun.every(({ destroyed }) => destroyed), 'the end of the connection');
  await eventually(() => ended.length >= AHEAD, 'the end of all answers');
  expect(ended).toHaveLength(AHEAD);
  expect(begun.every((request) => ended.includes(request))).toBe(true);
  expect(begun.some(({ socket }) => open.isAnyOn(socket))).toBe(false);
});

it('an error outside the routes ends its connection, and no other', async () => {
  const faults: unknown[] = [];
  let isBroken = true;
  const health = () => {
    if (isBroken) throw new Error('the health is not known');
    return { isStopping: false, degraded: [] };
  };
  const tell = tellTo({ fault: ({ error }) => faults.push(error) });
  const listener = await listen(createRegistryServer(registryOptions({ health, tell })), {
    host: '127.0.0.1',
    port: 0,
  });
  onTestFinished(() => listener.cut());
  await expect(fetchRaw(`${listener.url}/v2/`)).rejects.toThrow();
  expect(faults).toMatchObject([{ message: 'the health is not known' }]);
  isBroken = false;
  expect((await fetchRaw(`${listener.url}/healthz`)).status).toBe(200);
});
