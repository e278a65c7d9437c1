/** Salt and hash of no password. */
const NOBODYS = 'abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234';

/**
 * What a password is compared with, so that every refusal is as much work as the dearest line of the file. The first
 * hash is the account's; undefined: the file does not name the account.
 *
 * One comparison of cost c takes 2^c rounds. After it come comparisons of the costs c, c+1 … d-1:
 * 2^c + 2^c + 2^(c+1) + … + 2^(d-1) = 2^d.
 */
export function refusalWork(hash: string | undefined, dearest: number): readonly string[] {
  if (hash === undefined) return [decoy(dearest)];
  const hashes = [hash];
  for (let cost = costOf(hash); cost < dearest; cost++) hashes.push(decoy(cost));
  return hashes;
}

/** The highest cost of these hashes; 0: there are none. */
export function dearestCost(hashes: Iterable<string>): number {
  let dearest = 0;
  for (const hash of hashes) dearest = Math.max(dearest, costOf(hash));
  return dearest;
}

/** The base-2 logarithm of bcrypt's rounds: `$2y$11$…` has 11. */
function costOf(hash: string): number {
  return Number(hash.slice(4, 6));
}

function decoy(cost: number): string {
  return `$2b$${String(cost).padStart(2, '0')}$${NOBODYS}`;
}
