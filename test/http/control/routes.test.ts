import { createServer } from 'node:http';
import { expect, it, onTestFinished } from 'vitest';
import { createControl, type ControlOptions } from '../../../src/http/control/routes.ts';
import { listen } from '../../../src/http/server/listener.ts';
import { CONTROL_PROTOCOL, PROTOCOL_HEADER, REQUEST_PARAMETER } from '../../../src/operations/protocol.ts';
import { rawRequest } from '../../support/http.ts';
import { tellNobody } from '../../support/told.ts';

it('takes nothing new once it has ended, though nobody has asked for anything before', async () => {
  const flush = () => Promise.reject(new Error('was asked'));
  const operations = { flush } as unknown as ControlOptions['operations'];
  const control = createControl({ operations, version: '1.2.3', tell: tellNobody });
  const listener = await listen(createServer(control.listener), { host: '127.0.0.1', port: 0 });
  onTestFinished(() => listener.cut());
  await control.stop();
  const answer = await rawRequest({
    origin: listener.url,
    method: 'POST',
    target: '/v1/flush',
    headers: [[PROTOCOL_HEADER, String(CONTROL_PROTOCOL)]],
    body: '{}',
  });
  expect(answer.status).toBe(503);
  expect(answer.body.toString()).toContain('"stopped"');
});

it.each([
  ['verify', '{"repair":"yes"}', 'repair must be true or false'],
  ['pin', '{}', 'image must be the name of an image'],
  ['unpin', '{"image":1}', 'image must be the name of an image'],
  ['remove', '{"image":null}', 'image must be the name of an image'],
  ['refresh', '{"name":"golang"}', 'image must be the name of an image'],
  ['resolve', '{"image":"golang","platform":["a"]}', 'platform must be a platform'],
  ['resolve', '{"image":"golang","fetch":1}', 'fetch must be true or false'],
  ['warm', '{"images":"golang"}', 'images must be a list of names of images'],
  ['warm', '{"images":["golang",1]}', 'images must be a list of names of images'],
  ['warm', '{"images":["golang"],"platforms":null}', 'platforms must be a list of platforms'],
  ['flush', '[]', 'the request is not JSON'],
  ['flush', '1', 'the request is not JSON'],
  [`import?${REQUEST_PARAMETER}={"pin":0}`, '', 'pin must be true or false'],
  [`import?${REQUEST_PARAMETER}={"publicKey":{}}`, '', 'publicKey must be a text'],
])('refuses %s %s and says what is wrong in it', async (operation, body, message) => {
  const operations = {} as ControlOptions['operations'];
  const control = createControl({ operations, version: '1.2.3', tell: tellNobody });
  const listener = await listen(createServer(control.listener), { host: '127.0.0.1', port: 0 });
  onTestFinished(() => listener.cut());
  const answer = await rawRequest({
    origin: listener.url,
    method: 'POST',
    target: `/v1/${operation}`,
    headers: [[PROTOCOL_HEADER, String(CONTROL_PROTOCOL)]],
    body,
  });
  expect(answer.status).toBe(400);
  expect(JSON.parse(answer.body.toString())).toEqual({ error: { code: 'usage', message } });
});
