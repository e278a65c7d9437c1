import { createAdaptorServer } from '@hono/node-server';
import type { Server } from 'node:http';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createAdminRoutes } from '../../src/http/admin-routes.ts';
import { listen } from '../../src/http/listener.ts';
import { fetchRaw } from '../support/http.ts';

describe('the admin API', () => {
  it('tells a fault of the program to the log, and nobody else what it was', async () => {
    const fault = new Error('a secret that was at hand');
    const errors: unknown[] = [];
    const routes = createAdminRoutes({
      adminToken: undefined,
      health: () => ({ isStopping: false, degraded: [] }),
      metrics: () => Promise.reject(fault),
      settings: () => ({}),
      operations: { refresh: () => Promise.reject(fault), resolve: () => Promise.reject(fault) },
      onInternalError: (error) => void errors.push(error),
    });
    const address = { host: '127.0.0.1', port: 0 };
    const listener = await listen(createAdaptorServer({ fetch: routes.fetch }) as Server, address);
    onTestFinished(() => listener.cut());
    for (const target of ['/metrics', '/api/v1/resolve?image=golang']) {
      const answer = await fetchRaw(`${listener.url}${target}`);
      expect(answer.status).toBe(500);
      expect(answer.body.toString()).toBe('{"error":"internal error"}');
    }
    expect(errors).toEqual([fault, fault]);
  });
});

describe('the guard of the admin API', () => {
  const routesWith = (adminToken: string | undefined) =>
    createAdminRoutes({
      adminToken,
      health: () => ({ isStopping: false, degraded: [] }),
      metrics: () => Promise.resolve({ contentType: 'text/plain', text: 'metrics' }),
      settings: () => ({ some: 'settings' }),
      operations: { refresh: () => Promise.reject(new Error()), resolve: () => Promise.reject(new Error()) },
      onInternalError: () => undefined,
    });

  /** The status for a client of this address, and what it says. */
  async function statusFor(
    { adminToken, from, target = '/api/v1/config' }: { adminToken?: string; from: string; target?: string },
    headers: Readonly<Record<string, string>> = {},
  ): Promise<number> {
    const env = { incoming: { socket: { remoteAddress: from } } };
    const sent = { Host: '127.0.0.1:5001', ...headers };
    const answer = await routesWith(adminToken).request(target, { headers: sent }, env);
    return answer.status;
  }

  it('lets in who comes from loopback, by name of loopback and by no other page of a browser', async () => {
    for (const from of ['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1']) {
      expect(await statusFor({ from })).toBe(200);
      expect(await statusFor({ from }, { Host: 'localhost:5001', Origin: 'http://localhost:5001' })).toBe(
        200,
      );
      expect(await statusFor({ from }, { Host: 'rebound.example.net' })).toBe(403);
      expect(await statusFor({ from }, { Origin: 'https://page.example.net' })).toBe(403);
    }
  });

  it('needs the token from anywhere else, and where one is set from loopback too', async () => {
    for (const from of ['192.0.2.7', '10.0.0.1', '::ffff:10.0.0.1', '2001:db8::1', '']) {
      expect(await statusFor({ from })).toBe(403);
      for (const target of ['/metrics', '/healthz', '/readyz']) {
        expect(await statusFor({ from, target })).toBe(200);
      }
    }
    for (const from of ['192.0.2.7', '127.0.0.1']) {
      const adminToken = 'a-long-admin-token';
      expect(await statusFor({ from, adminToken })).toBe(401);
      for (const wrong of ['Bearer a-long-admin-toke', 'Bearer', 'Basic a-long-admin-token', 'Bearer x']) {
        expect(await statusFor({ from, adminToken }, { Authorization: wrong })).toBe(401);
      }
      expect(await statusFor({ from, adminToken }, { Authorization: `Bearer ${adminToken}` })).toBe(200);
    }
  });
});
