import { readFileSync } from 'node:fs';

/** Empty: the system does not say. */
let boot: string | undefined;

/** What tells this run of the machine from others; undefined where the system does not say. */
export function thisBoot(): string | undefined {
  if (boot === undefined) {
    try {
      boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    } catch {
      boot = '';
    }
  }
  return boot === '' ? undefined : boot;
}
