import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createAdminRoutes } from '../../../src/http/admin/routes.ts';
import { listen } from '../../../src/http/server/listener.ts';
import { fetchRaw } from '../../support/http.ts';
import { tellNobody, tellTo } from '../../support/told.ts';

describe('the admin API', () => {
  it('tells a fault of the program to the log, and nobody else what it was', async () => {
    const fault = new Error('a secret that was at hand');
    const errors: unknown[] = [];
    const routes = createAdminRoutes({
      adminToken: undefined,
      hosts: [],
      health: () => ({ isStopping: false, degraded: [] }),
      metrics: () => Promise.reject(fault),
      settings: () => ({}),
      operations: { refresh: () => Promise.reject(fault), resolve: () => Promise.reject(fault) },
      tell: tellTo({ fault: ({ error }) => void errors.push(error) }),
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
      hosts: ['mirror.example.net'],
      health: () => ({ isStopping: false, degraded: [] }),
      metrics: () => Promise.resolve({ contentType: 'text/plain', text: 'metrics' }),
      settings: () => ({ some: 'settings' }),
      operations: { refresh: () => Promise.reject(new Error()), resolve: () => Promise.reject(new Error()) },
      tell: tellNobody,
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
      // A proxy on this machine may say by what name it was asked, and nothing else.
      for (const Host of ['mirror.example.net', '192.0.2.1:5001']) {
        expect(await statusFor({ from }, { Host })).toBe(403);
      }
    }
  });

  it.each(['X-Forwarded-For', 'Forwarded', 'Via'])(
    'needs the token for what a proxy on this machine passes on and marks by %s',
    async (name) => {
      expect(await statusFor({ from: '127.0.0.1' }, { [name]: '192.0.2.7' })).toBe(403);
    },
  );

  const OWN = ['localhost:5001', 'LOCALHOST', '127.0.0.1', '127.0.0.1:15001', '[::1]:5001', '10.1.2.3:5001'];
  const NAMED = ['mirror.example.net', 'Mirror.Example.Net:5001'];
  const FOREIGN = ['rebound.example.net:5001', 'mirror.example.net.evil.example', 'localhost.evil.example'];
  const NONE = ['', '127.0.0.1.evil.example', '[::1', '127.0.0.1@evil.example', 'evil.example:5001:80'];

  it('answers metrics, the API and what is not there to a name of this server or an address, and to no other', async () => {
    const adminToken = 'a-long-admin-token';
    const admin = { Authorization: `Bearer ${adminToken}` };
    const targets = { '/metrics': 200, '/api/v1/config': 200, '/ui/': 404, '/': 404, '//healthz': 404 };
    for (const from of ['127.0.0.1', '10.0.0.1']) {
      for (const [target, status] of Object.entries(targets)) {
        for (const Host of [...OWN, ...NAMED]) {
          expect(await statusFor({ from, adminToken, target }, { ...admin, Host })).toBe(status);
        }
        for (const Host of [...FOREIGN, ...NONE]) {
          expect(await statusFor({ from, adminToken, target }, { ...admin, Host })).toBe(403);
        }
      }
    }
  });

  it('takes an Origin that is the Host, loopback or named, and no other, not even an address', async () => {
    const target = '/metrics';
    const from = '10.0.0.1';
    const Host = '10.1.2.3:5001';
    const own = [`http://${Host}`, 'https://mirror.example.net', 'http://localhost:3000', 'http://[::1]:80'];
    for (const Origin of own) expect(await statusFor({ from, target }, { Host, Origin })).toBe(200);
    const foreign = ['http://10.1.2.3:80', 'http://192.0.2.66', 'https://evil.example', 'null', ''];
    for (const Origin of foreign) expect(await statusFor({ from, target }, { Host, Origin })).toBe(403);
  });

  it('leaves health to every name: who asks for it is a balancer, and learns nothing', async () => {
    for (const target of ['/healthz', '/readyz']) {
      const headers = { Host: 'rebound.example.net', Origin: 'https://evil.example' };
      expect(await statusFor({ from: '10.0.0.1', target }, headers)).toBe(200);
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
