import { expect, it } from 'vitest';
import { Protection } from '../../../src/store/space/protection.ts';
import { openTestSpace } from '../../support/space.ts';

const MINUTE = 60_000;

/** Two images on one base layer, each with a layer of its own; clients pulled both just now. */
async function sharedBase() {
  const test = await openTestSpace({ blobLimit: 1000 });
  const { index, space } = test;
  const blob = async (name: string) => ({ digest: await test.addBlob(name, 100), size: 100 });
  const [base, own, others] = [await blob('base'), await blob('own'), await blob('others')];
  const { descriptor } = await test.addImage({ name: 'image', blobs: [base, own] });
  await test.addImage({ name: 'other', blobs: [base, others] });
  const protection = new Protection({
    tables: index.tables,
    leases: space.leases,
    notes: space.usage,
    now: () => test.now,
  });
  return { test, base, own, isProtected: () => protection.isProtected(descriptor.digest) };
}

it('an open base layer protects an image that a client pulled less than an hour ago', async () => {
  const { test, base, isProtected } = await sharedBase();
  test.now += 59 * MINUTE;
  expect(isProtected()).toBe(false);
  const release = test.space.leases.hold(base.digest);
  expect(isProtected()).toBe(true);
  release();
  expect(isProtected()).toBe(false);
});

it('an open base layer does not protect an image whose last pull was an hour ago', async () => {
  const { test, base, own, isProtected } = await sharedBase();
  test.now += 60 * MINUTE;
  test.space.leases.hold(base.digest);
  expect(isProtected()).toBe(false);
  test.space.leases.hold(own.digest);
  expect(isProtected()).toBe(true);
});
