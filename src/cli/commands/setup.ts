import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { readFailure, SettingsError } from '../../config/units.ts';
import { FileError } from '../../lib/errors.ts';
import { DOCKER_HUB, registryHost } from '../../oci/reference.ts';
import { createTlsSet } from '../../setup/certificates.ts';
import { CLIENTS, CONTAINERD_VERSIONS, clientFiles, isClientName } from '../../setup/client-files.ts';
import type { ExitCode } from '../exit.ts';
import { print } from '../print.ts';

const OF_THIS_MACHINE = ['localhost', '127.0.0.1', '::1'];
const HOST =
  /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$|^[\da-f:.]+$/i;

/** A host as in names of images: no scheme, no path. */
const REGISTRY = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/;

/** Prints the files of a client, or writes certificates for a trial. */
export function setup(_loaded: LoadedSettings, flags: Flags, words: readonly string[]): Promise<ExitCode> {
  const [client] = words;
  if (flags['tls'] === true && client === undefined) writeTlsSet(flags);
  else if (client !== undefined && isClientName(client) && flags['tls'] === undefined) {
    print(clientText(client, flags));
  } else {
    throw new SettingsError([`setup takes one of ${Object.keys(CLIENTS).join(', ')}, or --tls`]);
  }
  return Promise.resolve(0);
}

function clientText(client: keyof typeof CLIENTS, flags: Flags): string {
  const { url, ca } = flags;
  const registry = registryHost(String(flags['registry'] ?? DOCKER_HUB));
  const origin = originOf(url);
  const authority = typeof ca === 'string' ? authorityOf(ca) : undefined;
  if (authority !== undefined && origin.startsWith('http:'))
    throw new SettingsError(['--ca is for an https:// mirror']);
  if (!REGISTRY.test(registry))
    throw new SettingsError(['--registry must be a host as in names of images, such as ghcr.io']);
  const { containerd } = flags;
  const version = CONTAINERD_VERSIONS.find((each) => each === containerd);
  if (containerd !== undefined && (version === undefined || !['containerd', 'nerdctl'].includes(client))) {
    throw new SettingsError(['--containerd is 1 or 2, for containerd and nerdctl']);
  }
  const { file, authorityPath, afterwards } = clientFiles(client, {
    url: origin,
    registry,
    hasOwnAuthority: authority !== undefined,
    ...(version === undefined ? {} : { containerd: version }),
  });
  const files = [
    { path: file.path, text: file.text },
    ...(authority === undefined ? [] : [{ path: authorityPath, text: authority }]),
  ];
  return `${files.map(({ path, text }) => `==> ${path} <==\n${text}\n`).join('')}==> afterwards <==\n${afterwards}\n`;
}

function originOf(url: Flags[string]): string {
  const parsed = typeof url === 'string' && URL.canParse(url) ? new URL(url) : undefined;
  const isOrigin =
    parsed !== undefined && /^https?:$/.test(parsed.protocol) && parsed.href === `${parsed.origin}/`;
  if (!isOrigin) {
    throw new SettingsError([
      '--url must be the address of the mirror: http:// or https:// with a host, an optional port, and no path',
    ]);
  }
  return parsed.origin;
}

function authorityOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new FileError(`--ca: cannot read ${path} (${readFailure(cause)})`, { cause });
  }
}

/** Writes certificates, and prints the settings for them. */
function writeTlsSet({ host, out = 'tls' }: Flags): void {
  const named = typeof host === 'string' ? host.split(',').map((each) => each.trim()) : [hostname()];
  const wrong = named.filter((each) => !HOST.test(each));
  if (wrong.length > 0) throw new SettingsError([`--host: ${wrong.join(', ')} is not a name or an address`]);
  const folder = resolve(String(out));
  const files = createTlsSet([...new Set([...named, ...OF_THIS_MACHINE])], new Date());
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const { name, text, holds } of files) {
    const path = join(folder, name);
    // Never overwrites: clients trust the old authority, and its key is not kept.
    try {
      writeFileSync(path, text, { flag: 'wx', mode: 0o600 });
    } catch (cause) {
      throw new FileError(`cannot write ${path}: remove the old file, or set another --out`, { cause });
    }
    if (holds === 'certificate') chmodSync(path, 0o644);
  }
  print(
    [
      `# in ${folder}, for ${named.join(', ')}, valid for a year; the settings:`,
      `tlsCert: ${join(folder, 'server.crt')}`,
      `tlsKey: ${join(folder, 'server.key')}`,
      `# to require client.crt and client.key of clients:`,
      `#tlsClientCa: ${join(folder, 'ca.crt')}`,
      `# for the clients: pierhead setup <client> --url https://… --ca ${join(folder, 'ca.crt')}`,
      '',
    ].join('\n'),
  );
}
