import type { Platform } from './platform.ts';

/**
 * The platform that a Docker Engine or CRI-O states in its User-Agent (`… os/linux arch/arm64 …`), or undefined.
 * What stands in `UpstreamClient(…)` is the command line program's, which may run on another machine than the
 * engine, and is not looked at (moby, dockerversion/useragent.go; CRI-O, server/useragent).
 */
export function platformOfUserAgent(userAgent: string | undefined): Platform | undefined {
  if (userAgent === undefined) return undefined;
  const upstreamClient = userAgent.indexOf('UpstreamClient(');
  const own = upstreamClient < 0 ? userAgent : userAgent.slice(0, upstreamClient);
  let os: string | undefined;
  let architecture: string | undefined;
  for (const token of own.split(' ')) {
    if (token.startsWith('os/')) os ??= token.slice(3);
    else if (token.startsWith('arch/')) architecture ??= token.slice(5);
  }
  return os && architecture ? { os, architecture } : undefined;
}
