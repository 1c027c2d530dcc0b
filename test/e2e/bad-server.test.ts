import { expect, test } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import type { AcmeServer, Fault } from '../helpers/acme-server/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName } from '../helpers/world.ts';

const elsewhere = (json: Record<string, unknown>) => ({
  ...json,
  newAccount: 'https://elsewhere.example/acct',
});

/** What a directory may answer, and what its account then says. */
const directories: Record<string, { fault: Fault; text: RegExp }> = {
  HTML: { fault: { html: true, status: 200 }, text: /JSON/ },
  '10 MB': { fault: { bytes: 10_000_000 }, text: /large|long|bytes|more than/i },
  'a redirect': { fault: { redirect: 'https://elsewhere.example/dir' }, text: /redirect/i },
  "another host's URLs": { fault: { rewrite: elsewhere }, text: /elsewhere\.example/ },
  'half an answer': { fault: { cut: 'mid-body' }, text: /\w/ },
  'half of its JSON': { fault: { truncateJson: true }, text: /JSON/ },
  'a list instead of an object': {
    fault: { body: '[1,2]', contentType: 'application/json', status: 200 },
    text: /\w/,
  },
  'a cut connection': { fault: { cut: 'before-headers' }, text: /\w/ },
  '\\u0000 in a problem': {
    fault: {
      problem: {
        type: 'serverInternal',
        status: 500,
        detail: 'nul \u0000 and \u001b[31mred \ud800',
      },
    },
    text: /nul/,
  },
};

// Each has a CA and a database of its own, and waits more than it works: they run side by side.
for (const [name, { fault, text }] of Object.entries(directories)) {
  test.concurrent(
    `a directory that answers ${name} is said so, and loses nothing`,
    async ({ onTestFinished }) => {
      const { ca, ...world } = await faultyWorld({}, onTestFinished);
      const struck = ca.on('directory', { ...fault, times: Infinity });
      await world.worker();
      const id = await world.insert({ names: [freshName()] });
      const row = await until(
        async () => {
          const [status] = await world.sql<
            { reason: string | null; next_attempt_at: Date | null; state: string }[]
          >`
          select state, reason, next_attempt_at from acme.account_status where reason_code = 'remote_trouble'`;
          return status;
        },
        { what: 'the account says what is wrong' },
      );
      expect(row.reason).toMatch(text);

      expect(row.reason).not.toMatch(/[\u0000-\u001f\u007f]/);
      expect(row.next_attempt_at).toBeInstanceOf(Date);
      expect(await world.status(id)).toMatchObject({
        state: expect.stringMatching(/received|queued/) as string,
      });
      await noCrashLoop(ca);
      struck.remove();
      await world.reach(id, 'issued', 30_000);
    },
  );
}

test.concurrent(
  'a directory that never answers is given up in time, said so, and the CSR issued later',
  async ({ onTestFinished }) => {
    const { ca, ...world } = await faultyWorld({}, onTestFinished);
    const struck = ca.on('directory', { nothing: true, times: Infinity });
    await world.worker();
    const id = await world.insert({ names: [freshName()] });
    const row = await until(
      async () => {
        const [status] = await world.sql<{ reason: string }[]>`
        select reason from acme.account_status where reason_code = 'remote_trouble'`;
        return status;
      },
      { what: 'the account says what is wrong', timeoutMs: 45_000 },
    );
    expect(row.reason).toMatch(/within \d+ ms/);
    struck.remove();
    await world.reach(id, 'issued', 30_000);
  },
  90_000,
);

/** What an order may answer later on. */
const answers: Record<
  string,
  { resource: 'newOrder' | 'authorization' | 'finalize' | 'certificate' | 'order'; fault: Fault }
> = {
  'an order of HTML': { resource: 'newOrder', fault: { html: true, status: 200 } },
  'an order without authorizations': {
    resource: 'newOrder',
    fault: { rewrite: ({ authorizations: _, ...rest }) => rest },
  },
  "an order with another host's authorization": {
    resource: 'newOrder',
    fault: {
      rewrite: (json) => ({ ...json, authorizations: ['https://elsewhere.example/authz'] }),
    },
  },
  'an authorization of 10 MB': { resource: 'authorization', fault: { bytes: 10_000_000 } },
  'half an authorization': { resource: 'authorization', fault: { cut: 'mid-body' } },
  'an order with a status nobody knows': {
    resource: 'finalize',
    fault: { rewrite: (json) => ({ ...json, status: 'asleep' }) },
  },
  'a certificate that is a private key': {
    resource: 'certificate',
    fault: {
      status: 200,
      contentType: 'application/pem-certificate-chain',
      body: '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n',
    },
  },
  'a certificate that is HTML': { resource: 'certificate', fault: { status: 200, html: true } },
  'an empty certificate': {
    resource: 'certificate',
    fault: { status: 200, contentType: 'application/pem-certificate-chain', body: '' },
  },
};

for (const [name, { resource, fault }] of Object.entries(answers)) {
  test.concurrent(
    `${name} is trouble with a reason, and the next answer is taken`,
    async ({ onTestFinished }) => {
      const { ca, ...world } = await faultyWorld({}, onTestFinished);
      const struck = ca.on(resource, { ...fault, times: 1 });
      await world.worker();
      const id = await world.insert({ names: [freshName()] });
      const row = await world.reach(id, ['retrying', 'issued'], 20_000);
      if (row.state === 'retrying') {
        expect(row.reason).toMatch(/\w{4}/);
        expect(row.next_attempt_at).toBeInstanceOf(Date);
      }
      await world.sql`select acme.retry(${id})`;
      await world.reach(id, 'issued', 20_000);
      expect(struck.hits).toBe(1);
      const rows =
        await world.sql`select from acme.event where csr_id = ${id} and event = 'issued'`;
      expect(rows).toHaveLength(1);
    },
  );
}

/** Between one try and the next there is time: a bad answer is not asked for again and again. */
async function noCrashLoop(ca: AcmeServer): Promise<void> {
  const before = ca.count('directory');
  await until(() => ca.count('directory') > before, {
    what: 'it is tried again',
    timeoutMs: 15_000,
  });
  const tries = ca.seen.filter(({ resource }) => resource === 'directory').map(({ at }) => at);
  for (const [i, at] of tries.slice(1).entries()) expect(at - (tries[i] ?? 0)).toBeGreaterThan(500);
}

test('a csr that waits for its account tells its tenant neither addresses nor the state of ports', async () => {
  const { ca, ...world } = await faultyWorld();
  ca.on('directory', { cut: 'before-headers', times: Infinity });
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  await until(
    async () => (await world.status(id)).reason?.includes(new URL(ca.directoryUrl).host) === true,
    { what: 'who may see everything sees why' },
  );
  const app = await world.database.as('acme_app');
  const own = await app<{ id: string }[]>`
    insert into acme.csr ${app({ pem: (await makeCsr({ names: [freshName()] })).pem })} returning id`;
  const row = await until(
    async () => {
      const [found] = await app<{ reason: string; reason_code: string; text: string }[]>`
        select s.reason, s.reason_code, acme.explain(s.id) as text from acme.csr_status s
         where s.id = ${own[0]?.id ?? ''}`;
      return found?.reason_code === 'account_not_ready' ? found : undefined;
    },
    { what: 'it waits for its account' },
  );
  expect(row.reason).toBe('The account main is new; acme.account_status tells administrators why.');
  expect(row.text).toContain(row.reason);
  expect(row.text).not.toContain('127.0.0.1');
});
