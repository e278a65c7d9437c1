import { createServer } from 'node:http';
import { expect, it, onTestFinished } from 'vitest';
import { createControl, type ControlOptions } from '../../../src/http/control/routes.ts';
import { listen } from '../../../src/http/server/listener.ts';
import { CONTROL_PROTOCOL, PROTOCOL_HEADER } from '../../../src/operations/protocol.ts';
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
