import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import type { Exchange } from '../../../src/http/registry/exchange.ts';
import { OpenAnswers } from '../../../src/http/registry/server.ts';
import { eventually } from '../../support/wait.ts';

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
