import { run } from './commands.ts';

/** What test/support/address-probe.mjs is to find out. */
export interface AddressProbe {
  /** The URL of a registry on port 5000 of some address or name. */
  readonly registry: string;
  /** Where it redirects to, one after the other; a server that counts is on port 6000 of every address. */
  readonly redirects: readonly string[];
  /** What names resolve to: the first, then the next one each time, the last for good. */
  readonly names?: Readonly<Record<string, readonly string[]>>;
}

export interface ProbedAddresses {
  /** The `Host` of each request that got through. */
  readonly seen: readonly string[];
  /** Why each redirect was not followed; `not-found`: it was. */
  readonly outcomes: readonly string[];
}

const PROBE = new URL('address-probe.mjs', import.meta.url).pathname;

/** Probes in a network namespace where all of `addresses`, whoever they belong to elsewhere, are of this machine. */
export async function probeAddresses(
  addresses: readonly string[],
  probe: AddressProbe,
): Promise<ProbedAddresses> {
  const setUp = ['ip link set lo up', ...addresses.map((address) => `ip addr add ${address}/32 dev lo`)];
  const script = `${setUp.join(' && ')} && exec "$@"`;
  const program = [process.execPath, PROBE, JSON.stringify({ names: {}, ...probe })];
  const { stdout } = await run({
    program: 'unshare',
    args: ['--net', '--', 'sh', '-c', script, 'sh', ...program],
  });
  return JSON.parse(stdout.toString()) as ProbedAddresses;
}
