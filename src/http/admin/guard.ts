import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { HttpBindings } from '@hono/node-server';
import type { Context, MiddlewareHandler, Next } from 'hono';
import { isLoopback } from '../server/addresses.ts';

export type AdminContext = Context<{ Bindings: HttpBindings }>;
type Guard = MiddlewareHandler<{ Bindings: HttpBindings }>;

/**
 * Refuses a request unless its Host, and its Origin if present, name this server. A web page must not read or control
 * the server across sites, nor by a name that its owner points to this server (DNS rebinding). An IP address cannot be
 * pointed elsewhere, so any is allowed as Host: Prometheus asks for the address of a pod. As Origin, an IP address must
 * be the Host as well. `hosts`: further names of this server, in lower case.
 */
export function requireOwnHost(hosts: readonly string[]): Guard {
  const isNamed = (host: string): boolean => isLoopbackName(host) || hosts.includes(host);
  return async function checkHost(context: AdminContext, next: Next): Promise<Response | void> {
    const authority = context.req.header('Host')?.toLowerCase() ?? '';
    const host = hostOf(authority);
    if (isIP(host) === 0 && !isNamed(host)) return refused(context, 'Host');
    const origin = context.req.header('Origin')?.toLowerCase();
    if (origin === undefined) return next();
    const originAuthority = /^https?:\/\/(.+)$/.exec(origin)?.[1] ?? '';
    const isOwn = originAuthority === authority || isNamed(hostOf(originAuthority));
    return isOwn ? next() : refused(context, 'Origin');
  };
}

/** Refuses a request without the admin token. If no token is set, refuses requests that are not from loopback. */
export function requireAdmin(adminToken: string | undefined): Guard {
  return async function checkAdmin(context: AdminContext, next: Next): Promise<Response | void> {
    if (adminToken !== undefined) {
      const bearer = /^Bearer (.+)$/i.exec(context.req.header('Authorization') ?? '')?.[1];
      if (bearer !== undefined && isSameSecret(bearer, adminToken)) return next();
      return context.json({ error: 'the admin token is needed: send Authorization: Bearer <token>' }, 401, {
        'WWW-Authenticate': 'Bearer',
      });
    }
    // A proxy on this machine connects from loopback, too. Its headers, or the Host that it passes on, show it.
    const isForwarded = ['X-Forwarded-For', 'Forwarded', 'Via'].some((name) => context.req.header(name));
    const isDirect = isLoopbackName(hostOf(context.req.header('Host')?.toLowerCase() ?? ''));
    if (isForwarded || !isDirect || !isLoopback(context.env.incoming.socket.remoteAddress ?? '')) {
      return context.json({ error: 'set adminToken to use the API from elsewhere' }, 403);
    }
    return next();
  };
}

function refused(context: AdminContext, header: 'Host' | 'Origin'): Response {
  const error = `the ${header} of the request names another server; name this one in adminHosts`;
  return context.json({ error }, 403);
}

/** `::1` for `[::1]:5001`; empty if malformed. */
function hostOf(authority: string): string {
  const [, v6, name = ''] = /^(?:\[([\da-f:.]+)\]|([^:[\]]+))(?::\d*)?$/.exec(authority) ?? [];
  return v6 ?? name;
}

function isLoopbackName(host: string): boolean {
  return host === 'localhost' || (isIP(host) !== 0 && isLoopback(host));
}

function isSameSecret(given: string, expected: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(given), hash(expected));
}
