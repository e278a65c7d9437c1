import { expect, it } from 'vitest';
import { readPrinted } from '../support/printed.ts';

/** Runs after all end-to-end tests, and so only together with them. */
it('nothing that Pierhead printed in the end-to-end tests holds a secret that they used', () => {
  const { lines, secrets } = readPrinted();
  expect(lines.length, 'lines that were printed').toBeGreaterThan(50);
  expect(secrets.length, 'secrets that were used').toBeGreaterThan(0);
  const holding = lines.filter((line) => secrets.some((secret) => line.includes(secret)));
  expect(holding).toEqual([]);
});
