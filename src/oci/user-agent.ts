import { parsePlatform, type Platform } from './platform.ts';

/**
 * The platform that a Docker Engine or CRI-O states in its User-Agent (`… os/linux arch/arm64 …`), or undefined.
 * What stands in `UpstreamClient(…)` is the command line program's, which may run on another machine than the
 * engine, and is not looked at (moby, dockerversion/useragent.go; CRI-O, server/useragent).
 */
export function platformOfUserAgent(userAgent: string | undefined): Platform | undefined {
  if (userAgent === undefined) return undefined;
  const upstreamClient = userAgent.indexOf('UpstreamClient(');
  const own = upstreamClient < 0 ? userAgent : userAgent.slice(0, upstreamClient);
  const tokens = own.split(' ');
  const os = valueOf(tokens, 'os/');
  const architecture = valueOf(tokens, 'arch/');
  return os === undefined || architecture === undefined ? undefined : parsePlatform(`${os}/${architecture}`);
}

function valueOf(tokens: readonly string[], prefix: string): string | undefined {
  return tokens.find((token) => token.startsWith(prefix))?.slice(prefix.length);
}
