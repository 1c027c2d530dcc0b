import { webcrypto } from 'node:crypto';
import { adoptDatabase, adoptRestored } from '../../../src/db/owner/copies.ts';
import { makeCsr } from '../../../src/x509/index.ts';
import { foreignCertificates } from '../../helpers/foreign-certificates.ts';
import { BAD } from './bad-csrs.ts';
import type { Coverage } from './coverage.ts';
import { type Play, play } from './play.ts';
import type { StageOptions } from './stage.ts';

type Directed = (coverage: Coverage) => Promise<string>;

const script =
  (run: (play: Play) => Promise<void>, options: StageOptions = {}): Directed =>
  (coverage) =>
    play(run, coverage, options);

/** CSRs of one key. */
async function keyFor(): Promise<(name: string) => Promise<string>> {
  const key = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  return async (name) => (await makeCsr({ names: [name], key })).pem;
}

/** Scripts for what seeds do not come to, by name; each returns its record. */
export const DIRECTED: Readonly<Record<string, Directed>> = {
  'bad-csrs': script(
    async (play) => {
      for (const [what, pem] of Object.entries(BAD)) {
        await play.insertPem('one', await pem(), [what]);
      }
      await play.ask('c1', 'retry');
      await play.ask('c2', 'cancel');
    },
    { server: { refused_csr_features: ['must_staple', 'client_auth_eku'] } },
  ),

  adopted: script(async (play) => {
    const [good, other] = await foreignCertificates(['old.one.example', 'older.one.example']);
    if (good === undefined || other === undefined) throw new Error('There are no certificates.');
    const { admin, csrs } = play.stage;
    const adopt = (label: string, name: string, csrPem: string, chainPem: string) =>
      play.step(`adopt ${label} for ${name}`, async () => {
        const [row] = await admin<
          [{ id: string }]
        >`select id from acme.adopt(${csrPem}, ${chainPem})`;
        csrs.set(label, { label, id: row.id, pem: csrPem, tenant: 'one', names: [name] });
      });
    await adopt('a1', 'old.one.example', good.csrPem, good.chainPem);
    await adopt('a2', 'older.one.example', other.csrPem, good.chainPem);
    await play.step('renew a1', () => admin`select acme.renew(${csrs.get('a1')?.id ?? ''})`);
    const [stapled] = await Promise.all([BAD['must-staple']?.()]);
    await play.insertPem('one', stapled ?? '', ['bad.one.example']);
  }),

  'cancelled-in-each-state': script(async (play) => {
    const { stage } = play;
    await play.step('the worker stops', () => stage.stopWorker());
    const [first, csrs] = [await makeCsr({ names: ['a.one.example'] }), stage.csrs];
    await stage.tenants.one.begin(async (tx) => {
      const [row] = await tx<
        [{ id: string }]
      >`insert into acme.csr (pem) values (${first.pem}) returning id`;
      csrs.set('early', { label: 'early', id: row.id, pem: first.pem, tenant: 'one', names: [] });
    });
    await stage.tenants.one`select acme.cancel(${csrs.get('early')?.id ?? ''})`;
    await play.step('the worker starts again', () => stage.startWorker());
    await play.pause('server', 'ca');
    const queued = await play.insert('one', ['a.one.example']);
    await play.ask(queued, 'cancel');
    await play.resume('server', 'ca');
    await play.ca('is down');
    const creating = await play.insert('one', ['b.one.example']);
    await play.ask(creating, 'cancel');
    await play.pass('half a minute');
    await play.ca('takes long to validate');
    const validating = await play.insert('one', ['c.one.example']);
    await play.ask(validating, 'cancel');
    await play.pass('half a minute');
    await play.ca('takes long to issue');
    const issuing = await play.insert('one', ['d.one.example']);
    await play.pass('half a minute');
    await play.ask(issuing, 'cancel');
    await play.ca('is well');
    await play.pass('ten minutes');
    await play.revokeCertificate(issuing, 'cessationOfOperation');
    await play.ca('cannot hand out certificates');
    const downloading = await play.insert('one', ['e.one.example']);
    await play.pass('half a minute');
    await play.ask(downloading, 'cancel');
    await play.ca('refuses new orders');
    const retrying = await play.insert('one', ['f.one.example']);
    await play.ask(retrying, 'cancel');
    await play.ca('refuses names');
    const failed = await play.insert('one', ['g.one.example']);
    await play.ask(failed, 'cancel');
    await play.ca('lets no account order');
    const person = await play.insert('one', ['h.one.example']);
    await play.ask(person, 'cancel');
    await play.ca('is well');
    const renewing = await play.insert('one', ['i.one.example']);
    await play.ca('takes long to validate');
    await play.ask(renewing, 'renew');
    await play.ask(renewing, 'cancel');
    await play.pass('a day');
  }),

  'failed-and-tried-again': script(async (play) => {
    await play.ca('refuses names');
    const one = await play.insert('one', ['a.one.example']);
    await play.ca('is well');
    await play.ask(one, 'retry');
    await play.ca('refuses CSRs');
    await play.ask(one, 'renew');
    await play.ca('is well');
    await play.ask(one, 'retry');
    await play.ca('refuses to issue');
    await play.ask(one, 'renew');
    await play.ca('cannot validate');
    await play.ask(one, 'retry');
    await play.pass('ten minutes');
    for (let times = 0; times < 5; times++) await play.ask(one, 'retry');
    await play.ca('is well');
    await play.pass('a day');
    await play.ca('lets no account order');
    await play.ask(one, 'renew');
    await play.ca('is well');
    await play.pass('half a minute');
    await play.ask(one, 'retry');
    await play.ca('fails while validating');
    await play.ask(one, 'renew');
    await play.ca('is well');
    await play.pass('a day');
    await play.ca('issues for another key');
    await play.ask(one, 'renew');
    await play.pass('two hours');
    await play.ca('refuses CSRs for CAA');
    await play.ask(one, 'retry');
    await play.ca('has paused names');
    await play.ask(one, 'retry');
    await play.ca('finds new orders malformed');
    await play.ask(one, 'retry');
    await play.pass('ten minutes');
  }),

  'a-blocked-key': script(async (play) => {
    const csrOf = await keyFor();
    const insert = async (name: string) => play.insertPem('one', await csrOf(name), [name]);
    const issued = await insert('a.one.example');
    const renewing = await insert('b.one.example');
    await play.ca('is down');
    await play.ask(renewing, 'renew');
    const ordering = await insert('c.one.example');
    await play.ca('refuses new orders');
    const retrying = await insert('d.one.example');
    await play.ca('does not offer the profile');
    const person = await insert('e.one.example');
    await play.pause('account', 'main');
    const queued = await insert('f.one.example');
    await play.ca('is well');
    await play.revoke(issued, 'keyCompromise');
    await play.pass('half a minute');
    await play.resume('account', 'main');
    await play.pass('half a minute');
    await insert('g.one.example');
    await play.step('the key is unblocked', () => play.stage.admin`delete from acme.blocked_key`);
    for (const label of [issued, renewing, ordering, retrying]) await play.ask(label, 'retry');
    await play.ask(person, 'cancel');
    await play.ask(queued, 'retry');
  }),

  limits: script(async (play) => {
    await play.ca('limits domain one.example');
    const one = await play.insert('one', ['a.one.example']);
    const same = await play.insert('one', ['b.one.example']);
    await play.ask(same, 'cancel');
    await play.ca('is well');
    await play.resume('domain', 'one.example');
    await play.ca('limits sets of names');
    await play.ask(one, 'renew');
    await play.pass('two hours');
    await play.ca('limits failures of a.one.example');
    await play.ask(one, 'retry');
    await play.ca('is well');
    await play.resume('csr', one);
    await play.ca('limits orders of the account');
    await play.insert('two', ['a.two.example']);
    await play.ask(one, 'renew');
    await play.insert('two', ['b.two.example']);
    await play.ca('is well');
    await play.resume('account', 'main');
    await play.ca('limits registrations');
    await play.addAccount('second');
    await play.addAccount('third');
    await play.ca('is well');
    await play.pass('two hours');
    await play.ca('is overloaded');
    await play.ask(one, 'renew');
    await play.insert('three', ['a.three.example'], { account: 'second' });
    await play.ca('is well');
    await play.resume('server', 'ca');
    await play.ca('limits everything');
    await play.insert('three', ['b.three.example']);
    await play.pass('two hours');
    await play.ca('is well');
    await play.pass('a day');
  }),

  'few-places': script(
    async (play) => {
      await play.ca('takes long to validate');
      const first = await play.insert('one', ['a.one.example']);
      const same = await play.insert('one', ['a.one.example']);
      await play.insert('two', ['a.two.example'], { priority: 1 });
      await play.insert('one', ['b.one.example'], { priority: 5 });
      await play.ask(first, 'cancel');
      await play.ca('is well');
      await play.pass('half a minute');
      await play.pass('ten minutes');
      await play.ask(same, 'retry');
      await play.insert('three', ['a.three.example']);
    },
    { server: { max_orders_in_flight: 1 } },
  ),

  accounts: script(async (play) => {
    const { ca } = play.stage;
    await play.addAccount('unread', { terms_agreed: false });
    await play.account('agree_terms', 'unread');
    await play.addAccount('contactless', { contact: ['tel:+1'] });
    await play.updateAccount('contactless', { contact: ['mailto:a@example.org'] });
    await play.happens('binds accounts', () => (ca.options.externalAccounts = { kid: 'c2VjcmV0' }));
    await play.addAccount('unbound');
    await play.happens('binds none', () => (ca.options.externalAccounts = undefined));
    await play.account('verify_account', 'unbound');
    await play.happens(
      'refuses accounts',
      () =>
        void ca.on('newAccount', {
          times: Infinity,
          problem: { type: 'unauthorized', status: 403 },
        }),
    );
    await play.addAccount('refused');
    await play.ca('is well');
    await play.account('verify_account', 'refused');
    const one = await play.insert('one', ['a.one.example']);
    await play.ca('wants a person to act');
    await play.ask(one, 'renew');
    await play.ca('is well');
    await play.account('agree_terms', 'main');
    await play.happens('forgets its accounts', () => ca.forgetAccounts());
    await play.ask(one, 'renew');
    await play.happens('closes all accounts', () => {
      for (const account of ca.store.accounts.values()) account.status = 'deactivated';
    });
    await play.ask(one, 'renew');
    await play.pass('two hours');
    await play.addAccount('next');
    await play.replaceAccount('main', 'next');
    await play.happens('revokes all accounts', () => {
      for (const account of ca.store.accounts.values()) account.status = 'revoked';
    });
    await play.account('verify_account', 'next');
    await play.account('verify_account', 'unread');
    await play.step(
      'delete account contactless',
      () => play.stage.admin`
      delete from acme.account where name = 'contactless'`,
    );
  }),

  'accounts-closed': script(async (play) => {
    const { ca } = play.stage;
    const close = (name: string) => play.account('deactivate_account', name);
    await play.ca('takes long to validate');
    await play.insert('one', ['a.one.example']);
    await close('main');
    await play.ca('is well');
    await play.pass('half a minute');
    await play.pause('server', 'ca');
    await play.addAccount('never-registered');
    await close('never-registered');
    await play.resume('server', 'ca');
    await play.ca('is down');
    await play.addAccount('registering');
    await close('registering');
    await play.ca('is well');
    await play.pass('ten minutes');
    for (const name of ['second', 'third', 'fourth', 'fifth']) {
      await play.addAccount(name);
      await play.ca('takes long to validate');
      await play.insert('one', [`${name}.one.example`], { account: name });
      await play.account('roll_over_key', name);
      if (name === 'second') await close(name);
      const status = name === 'third' ? 'deactivated' : 'revoked';
      if (name === 'third' || name === 'fourth') {
        await play.happens(`${status} the account`, () => {
          for (const account of ca.store.accounts.values()) account.status = status;
        });
      }
      if (name === 'fifth') await play.happens('forgets its accounts', () => ca.forgetAccounts());
      await play.ca('is well');
      await play.pass('half a minute');
      await play.pass('ten minutes');
    }
    await play.addAccount('sixth');
    await play.ca('answers 500');
    await close('sixth');
    await play.happens('revokes all accounts', () => {
      for (const account of ca.store.accounts.values()) account.status = 'revoked';
    });
    await play.ca('is well');
    await play.pass('ten minutes');
  }),

  'roll-over': script(async (play) => {
    const { ca } = play.stage;
    const roll = () => play.account('roll_over_key', 'main');
    await play.ca('refuses key changes');
    await roll();
    await play.ca('fails at key changes');
    await roll();
    await play.pass('half a minute');
    await play.ca('is well');
    await play.pass('ten minutes');
    await play.happens('changes no key', () => (ca.options.keyChangeDoesNothing = true));
    await roll();
    await play.pass('ten minutes');
    await play.happens('changes keys again', () => (ca.options.keyChangeDoesNothing = false));
    await play.happens(
      'says that the key is taken',
      () =>
        void ca.on('keyChange', { times: Infinity, problem: { type: 'malformed', status: 409 } }),
    );
    await roll();
    await play.pass('ten minutes');
    await play.ca('takes long to validate');
    await play.insert('one', ['a.one.example']);
    await roll();
    await play.pass('two hours');
    await play.ca('is well');
    await play.pass('ten minutes');
    await play.happens(
      'offers no key change',
      () =>
        void ca.on('directory', { times: Infinity, rewrite: ({ keyChange: _, ...json }) => json }),
    );
    await play.step('the worker starts again', async () => {
      await play.stage.stopWorker();
      await play.stage.startWorker();
    });
    await roll();
  }),

  'ahead-of-orders': script(
    async (play) => {
      const { ca } = play.stage;
      await play.preauthorize('one', 'a.one.example');
      await play.ca('keeps proofs');
      await play.insert('one', ['a.one.example']);
      await play.preauthorize('one', 'a.one.example');
      await play.deactivate('one', 'a.one.example');
      await play.ca('cannot validate');
      await play.preauthorize('one', 'b.one.example');
      await play.ca('takes long to validate');
      await play.preauthorize('one', 'c.one.example');
      await play.deactivate('one', 'c.one.example');
      await play.ca('does not find authorizations');
      await play.preauthorize('one', 'd.one.example');
      await play.ca('is down');
      await play.preauthorize('one', 'e.one.example');
      await play.deactivate('one', 'e.one.example');
      await play.preauthorize('two', 'f.two.example');
      await play.releaseDomain('two', 'two.example');
      await play.ca('is well');
      await play.happens(
        'refuses authorizations',
        () => void ca.on('newAuthz', { times: Infinity, problem: { type: 'rejectedIdentifier' } }),
      );
      await play.preauthorize('one', 'g.one.example');
      await play.preauthorize('one', '*.one.example');
      await play.preauthorize('two', 'a.one.example');
      await play.preauthorize('one', 'com');
      await play.ca('takes long to validate');
      await play.preauthorize('one', 'h.one.example');
      await play.pass('a month');
      await play.pass('a month');
      await play.ca('is well');
      await play.pass('a day');
    },
    { prepare: ({ ca }) => Promise.resolve(void (ca.options.preAuthorization = true)) },
  ),

  names: script(async (play) => {
    await play.ca('takes long to validate');
    const one = await play.insert('one', ['shared.example']);
    const two = await play.insert('two', ['shared.example']);
    await play.insert('three', ['www.shared.example']);
    await play.pass('ten minutes');
    await play.ca('is well');
    await play.pass('half a minute');
    await play.pass('two hours');
    await play.ask(two, 'retry');
    await play.ask(one, 'retry');
    await play.pause('server', 'ca');
    const held = await play.insert('one', ['b.one.example']);
    await play.moveName('one.example', 'two');
    await play.moveName('shared.example', 'three');
    await play.resume('server', 'ca');
    await play.ask(held, 'retry');
    await play.ask(one, 'renew');
    await play.ca('answers 500');
    await play.moveName('shared.example', 'one');
    await play.insert('one', ['x.shared.example']);
    await play.ca('is well');
    await play.pass('ten minutes');
    await play.pass('two hours');
    await play.ca('takes long to validate');
    await play.insert('one', ['y.shared.example']);
    await play.moveName('shared.example', 'two');
    await play.ca('is well');
    await play.pass('ten minutes');
    await play.moveName('shared.example', null);
    await play.releaseDomain('two', 'shared.example', true);
    await play.pass('two months');
  }),

  restored: script(
    async (play) => {
      const { stage } = play;
      const found = await play.insert('one', ['a.one.example']);
      const found2 = await play.insert('one', ['b.one.example']);
      const found3 = await play.insert('one', ['c.one.example']);
      const found4 = await play.insert('one', ['d.one.example']);
      for (const label of [found, found2, found3, found4]) await play.delete(label);
      const again = (label: string) => {
        const csr = stage.csrs.get(label);
        return play.insertPem('one', csr?.pem ?? '', [...(csr?.names ?? [])]);
      };
      await play.ca('refuses new orders');
      await again(found);
      await play.ca('does not offer the profile');
      await again(found2);
      await play.pause('server', 'ca');
      await again(found3);
      await again(found4);
      await play.ca('is well');
      await play.step('the worker stops', () => stage.stopWorker());
      await play.step('the database was restored', () =>
        adoptRestored({ databaseUrl: stage.database.url, environment: undefined }),
      );
      await play.step('the worker starts', () => stage.startWorker());
      await play.resume('server', 'ca');
      await play.pass('half a minute');
      await play.pass('ten minutes');
    },
    { prepare: ({ ca }) => Promise.resolve(void (ca.options.ordersPerPage = 2)) },
  ),

  copied: script(async (play) => {
    const { stage } = play;
    const one = await play.insert('one', ['a.one.example']);
    await play.step('the worker stops', () => stage.stopWorker());
    await play.step('a worker of staging starts', () => stage.startWorker('staging', true));
    await play.ask(one, 'renew');
    await play.insert('two', ['a.two.example']);
    await play.step('the database is adopted for staging', () =>
      adoptDatabase({ databaseUrl: stage.database.url, environment: 'staging' }),
    );
    await play.step('the worker starts again', async () => {
      await stage.stopWorker();
      await stage.startWorker('staging');
    });
    await play.pass('half a minute');
  }),

  'by-hand': script(async (play) => {
    const { admin } = play.stage;
    await play.step(
      'solver hand',
      () => admin`
      insert into acme.solver (name, method, names) values ('hand', 'manual', '{hand.example,only.example}')`,
    );
    const one = await play.insert('one', ['hand.example']);
    await play.publish('one');
    await play.publish('one');
    const two = await play.insert('one', ['www.hand.example']);
    await play.ask(two, 'cancel');
    await play.insert('one', ['b.hand.example']);
    await play.account('roll_over_key', 'main');
    await play.pass('half a minute');
    await play.publish('one');
    await play.publish('one');
    await play.ca('cannot validate');
    await play.ask(one, 'renew');
    await play.publish('one');
    await play.publish('one');
    await play.ca('is well');
    await play.insert('two', ['c.hand.example']);
    await play.pass('a day');
    await play.pass('a day');
  }),

  renewals: script(
    async (play) => {
      const { ca } = play.stage;
      const one = await play.insert('one', ['a.one.example'], { preferred_chain: 'nobody' });
      await play.insert('one', ['b.one.example'], { renewal: 'off' });
      await play.insert('one', ['c.one.example'], { validity: '30 days' });
      await play.happens('suggests a window', () => {
        const day = 86_400_000;
        const at = play.stage.now() + 70 * day;
        ca.options.renewalWindow = {
          start: new Date(at).toISOString(),
          end: new Date(at + day).toISOString(),
        };
      });
      await play.pass('two months');
      await play.ask(one, 'renew');
      await play.pass('a month');
      await play.happens('takes no times', () => (ca.options.orderTimes = false));
      await play.insert('one', ['d.one.example'], { validity: '30 days' });
      await play.pass('two months');
      await play.pass('two months');
    },
    {
      prepare: ({ ca }) =>
        Promise.resolve(void Object.assign(ca.options, { renewalInfo: true, alternateChains: 1 })),
    },
  ),

  revocations: script(async (play) => {
    const one = await play.insert('one', ['a.one.example']);
    await play.ask(one, 'renew');
    await play.step(
      'revoke the first certificate of c1',
      () => play.stage.tenants.one`
      select acme.revoke_certificate(min(id), 'superseded') from acme.certificate`,
    );
    await play.ca('refuses reasons of revocation');
    await play.revokeCertificate(one, 'superseded');
    await play.revoke(one, 'affiliationChanged');
    await play.ask(one, 'renew');
    await play.step(
      'revoke the second certificate of c1',
      () => play.stage.tenants.one`
      select acme.revoke_certificate(min(id) + 1, 'superseded') from acme.certificate`,
    );
    await play.ca('lets nobody revoke');
    await play.revoke(one, 'superseded');
    await play.ask(one, 'renew');
    await play.pass('a day');
    await play.ca('has revoked already');
    await play.pass('a day');
    await play.ca('is well');
    const two = await play.insert('one', ['b.one.example']);
    await play.ca('fails to revoke');
    await play.revoke(two, 'superseded');
    await play.pass('two months');
    await play.pass('two months');
    await play.ca('is well');
    const three = await play.insert('one', ['c.one.example']);
    await play.revoke(three, 'superseded', true);
    await play.revokeCertificate(three, 'keyCompromise');
  }),

  'orders-of-odd-states': script(async (play) => {
    const { ca } = play.stage;
    const one = await play.insert('one', ['a.one.example']);
    const answers = async (
      what: string,
      resource: 'newOrder' | 'order' | 'finalize' | 'authorization',
      status: string,
    ) => {
      await play.happens(
        `says ${status} of ${what}`,
        () =>
          void ca.on(resource, {
            times: Infinity,
            headers: { 'retry-after': '5' },
            rewrite: (json) => ({ ...json, status }),
          }),
      );
    };
    await play.ca('keeps proofs');
    await play.ask(one, 'renew');
    await answers('new orders', 'newOrder', 'processing');
    await play.ask(one, 'renew');
    await play.ca('is well');
    await play.pass('ten minutes');
    await play.pass('two hours');
    await answers('new orders', 'newOrder', 'invalid');
    await play.ask(one, 'renew');
    await play.ca('lags behind: orders stay pending');
    await play.insert('one', ['b.one.example']);
    await play.pass('ten minutes');
    await play.pass('ten minutes');
    await play.ca('takes long to issue');
    await play.insert('one', ['c.one.example']);
    await play.pass('half a minute');
    await answers('orders', 'order', 'invalid');
    await play.ca('is well');
    await answers('orders', 'order', 'invalid');
    await play.pass('ten minutes');
    await play.ca('takes long to issue');
    await play.insert('one', ['d.one.example']);
    await play.ca('cannot hand out certificates');
    await play.pass('half a minute');
    await play.ca('does not find orders');
    await play.pass('ten minutes');
    await play.ca('is well');
    await play.pass('two hours');
    await play.ca('takes long to validate');
    await play.insert('one', ['e.one.example']);
    for (const status of ['revoked', 'deactivated', 'expired']) {
      await play.ca('is well');
      await answers('authorizations', 'authorization', status);
      await play.pass('ten minutes');
      await play.ca('takes long to validate');
      await play.pass('two hours');
    }
    await play.ca('is well');
    await play.pass('a day');
  }),

  'proofs-named-again': script(async (play) => {
    const { ca } = play.stage;
    const one = await play.insert('one', ['a.one.example']);
    const looked = (status?: string) =>
      play.happens(
        `has proofs looked at${status === undefined ? '' : `, which are ${status}`}`,
        () => {
          ca.clearFaults();
          for (const resource of ['newOrder', 'order'] as const) {
            ca.on(resource, {
              times: Infinity,
              when: () => resource === 'newOrder' || status !== undefined,
              rewrite: (json) =>
                json['status'] === 'ready' ? { ...json, status: 'pending' } : json,
            });
          }
          if (status !== undefined) {
            ca.on('authorization', { times: Infinity, rewrite: (json) => ({ ...json, status }) });
          }
        },
      );
    await play.ca('keeps proofs');
    for (const status of ['revoked', 'deactivated', 'expired', 'invalid']) {
      await play.ask(one, 'renew');
      await looked(status);
      await play.ask(one, 'renew');
      await looked();
      await play.ask(one, 'retry');
    }
  }),

  'certificates-not-found': script(async (play) => {
    const { ca } = play.stage;
    const lost = () =>
      play.happens(
        'does not find certificates',
        () =>
          void ca.on('certificate', {
            times: Infinity,
            problem: { type: 'malformed', status: 404 },
          }),
      );
    await lost();
    const one = await play.insert('one', ['a.one.example']);
    await play.ca('is well');
    await play.pass('half a minute');
    await lost();
    const two = await play.insert('one', ['b.one.example']);
    await play.ask(two, 'cancel');
    await play.pass('half a minute');
    await play.insert('one', ['c.one.example']);
    await play.pass('ten minutes');
    await play.pass('ten minutes');
    await play.ca('takes long to issue');
    await play.ask(one, 'renew');
    await play.ca('is well');
    await lost();
    await play.pass('half a minute');
    await play.ca('is well');
    await play.pass('ten minutes');
    await play.happens(
      'says that new orders are valid',
      () =>
        void ca.on('newOrder', {
          times: Infinity,
          rewrite: (json) => ({ ...json, status: 'valid', certificate: json['finalize'] }),
        }),
    );
    await play.ask(one, 'renew');
    await play.ca('is well');
    await play.pass('two hours');
  }),

  'accounts-said-to-be-closed': script(async (play) => {
    const { ca } = play.stage;
    const say = (status: string) =>
      play.happens(`says that accounts are ${status}`, () => {
        ca.clearFaults();
        for (const resource of ['newAccount', 'account'] as const) {
          ca.on(resource, { times: Infinity, rewrite: (json) => ({ ...json, status }) });
        }
      });
    for (const name of ['second', 'third', 'fourth', 'fifth']) await play.addAccount(name);
    await say('revoked');
    await play.account('verify_account', 'second');
    await play.addAccount('sixth');
    await play.account('deactivate_account', 'third');
    await say('deactivated');
    await play.addAccount('seventh');
    await play.ca('is well');
    for (const [name, status] of [
      ['fourth', 'revoked'],
      ['fifth', 'deactivated'],
    ] as const) {
      await play.ca('fails at key changes');
      await play.account('roll_over_key', name);
      await say(status);
      await play.pass('half a minute');
      await play.pass('ten minutes');
    }
  }),

  'nobody-at-work': script(async (play) => {
    const { stage } = play;
    const one = await play.insert('one', ['a.one.example']);
    await play.ca('refuses names');
    const failed = await play.insert('one', ['b.one.example']);
    await play.request(failed, 'return');
    await play.step(
      'nobody is the default account',
      () => stage.admin`
      update acme.account set is_default = null`,
    );
    await play.insert('two', ['a.two.example']);
    await play.step(
      'main is the default account',
      () => stage.admin`
      update acme.account set is_default = true where name = 'main'`,
    );
    await play.ca('takes long to validate');
    await play.insert('three', ['a.three.example']);
    await play.step('the worker stops', () => stage.stopWorker());
    await play.insert('two', ['b.two.example']);
    await play.ask(one, 'renew');
    await play.pass('two hours');
    await play.pass('two months');
    await play.pass('two months');
    await play.ca('is well');
    await play.step('the worker starts', () => stage.startWorker());
    await play.pass('a day');
  }),

  'a-domain-an-account': script(
    async (play) => {
      await play.insert('one', ['a.one.example']);
      await play.insert('one', ['b.one.example', 'a.two.example']);
      await play.insert('two', ['a.two.example']);
      await play.insert('two', ['b.two.example']);
    },
    { server: { account_policy: 'per_registered_domain' } },
  ),
};
