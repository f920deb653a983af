// Loaded before Zigbee2MQTT: a radio that has four devices, each of which does what a file says.
//
// RADIO_MODES names that file: a JSON object of network address and mode. It is replaced as a whole. The modes are
//   ok      does what it is told, and says so
//   slow    the same, after a second and a half
//   delayed the same, after seven seconds: later than a request is answered
//   asleep  hears nothing until its mode is another one; its parent keeps a message for seven seconds
//   lie     says so, and does nothing
//   refuse  answers with a failure
//   dead    cannot be reached
// RADIO_STATES names a file that gets a line for each time that a lamp was switched, such as `1767225600000 1001 1`. A lamp
// stays as it is while Zigbee2MQTT is away.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const herdsman = path.resolve('node_modules/zigbee-herdsman/dist');
const adapter = require(path.join(herdsman, 'adapter/adapter.js'));
const Zcl = require(path.join(herdsman, 'zspec/zcl'));

const { FrameType, Frame, Header, Status } = Zcl;
const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

class Radio extends adapter.Adapter {
  /** The attributes of each device, by network address and cluster. */
  devices = new Map([
    ['1001 genOnOff', { onOff: 0 }],
    ['1001 genLevelCtrl', { currentLevel: 254 }],
    ['1001 lightingColorCtrl', { colorTemperature: 370, colorMode: 2 }],
    ['1004 genOnOff', { onOff: 0 }],
    ['1004 genLevelCtrl', { currentLevel: 254 }],
    ['1004 lightingColorCtrl', { colorTemperature: 370, colorMode: 2 }],
    ['1002 msTemperatureMeasurement', { measuredValue: 2150 }],
  ]);

  async start() {
    for (const line of fs.readFileSync(process.env.RADIO_STATES, 'utf8').split('\n').slice(0, -1)) {
      const [, address, onOff] = line.split(' ');
      this.attributes(address, 'genOnOff').onOff = Number(onOff);
    }
    return 'resumed';
  }
  async stop() {}
  async reset() {}
  async getCoordinatorIEEE() { return '0x00124b0000000001'; }
  async getCoordinatorVersion() { return { type: 'test', meta: {} }; }
  async supportsBackup() { return false; }
  async backup() { throw new Error('there is no backup'); }
  async getNetworkParameters() {
    return { panID: 0x1a62, extendedPanID: '0xdddddddddddddddd', channel: 11, nwkUpdateID: 0 };
  }
  async addInstallCode() {}
  async permitJoin() {}
  waitFor() { return { promise: new Promise(() => {}), cancel() {} }; }
  async sendZclFrameToAll() {}
  async setChannelInterPAN() {}
  async sendZclFrameInterPANToIeeeAddr() {}
  async sendZclFrameInterPANBroadcast() {}
  async restoreChannelInterPAN() {}

  /** Both lamps are in the one group; nobody answers what a group is told, and nobody is told twice. */
  async sendZclFrameToGroup(_group, frame) {
    for (const address of [1001, 1004]) {
      const mode = modeOf(address);
      if (mode === 'ok') this.obey(address, frame);
      if (mode === 'slow') setTimeout(() => this.obey(address, frame), 1500);
    }
  }

  async sendZdo(_ieee, address) {
    if (modeOf(address) === 'dead') throw new Error('ZDO timeout');
  }

  async sendZclFrameToEndpoint(_ieee, address, endpoint, frame) {
    const patience = Date.now() + 7000;
    while (modeOf(address) === 'asleep' && Date.now() < patience) await pause(50);
    const mode = modeOf(address);
    if (mode === 'dead' || mode === 'asleep') {
      await pause(300);
      throw new Error(`Delivery failed for '${address}'.`);
    }
    await pause({ slow: 1500, delayed: 7000 }[mode] ?? 20);
    if (mode !== 'lie' && mode !== 'refuse') this.obey(address, frame);
    const payload = this.received(address, endpoint, this.answer(address, frame, mode === 'refuse'));
    this.emit('zclPayload', payload);
    return payload;
  }

  attributes(address, cluster) {
    const key = `${address} ${cluster}`;
    if (!this.devices.has(key)) this.devices.set(key, {});
    return this.devices.get(key);
  }

  obey(address, frame) {
    const power = () => this.attributes(address, 'genOnOff').onOff;
    const before = power();
    this.carryOut(address, frame);
    if (power() !== before) {
      fs.appendFileSync(process.env.RADIO_STATES, `${Date.now()} ${address} ${power()}\n`);
    }
  }

  carryOut(address, frame) {
    const { command, cluster, header, payload } = frame;
    const own = this.attributes(address, cluster.name);
    if (header.frameControl.frameType === FrameType.GLOBAL) {
      if (command.name !== 'write') return;
      for (const { attrId, attrData } of payload) {
        const attribute = byId(cluster, attrId);
        if (attribute) own[attribute.name] = attrData;
      }
    } else if (cluster.name === 'genOnOff') {
      own.onOff = { on: 1, off: 0, offWithEffect: 0 }[command.name] ?? 1 - (own.onOff ?? 0);
    } else if (command.name.startsWith('moveToLevel')) {
      own.currentLevel = payload.level;
      if (command.name.endsWith('WithOnOff')) {
        this.attributes(address, 'genOnOff').onOff = payload.level > 0 ? 1 : 0;
      }
    } else if (command.name === 'moveToColorTemp') {
      own.colorTemperature = payload.colortemp;
      own.colorMode = 2;
    }
  }

  answer(address, frame, refuses) {
    const { cluster, command, header, payload } = frame;
    const isGlobal = header.frameControl.frameType === FrameType.GLOBAL;
    const reply = (name, body) => Frame.create(
      FrameType.GLOBAL, 1, true, undefined, header.transactionSequenceNumber, name, cluster, body, {},
    );
    if (isGlobal && command.name === 'read') {
      const own = this.attributes(address, cluster.name);
      return reply('readRsp', payload.map(({ attrId }) => {
        const attribute = byId(cluster, attrId);
        const value = own[attribute?.name];
        if (value === undefined) return { attrId, status: Status.UNSUPPORTED_ATTRIBUTE };
        return { attrId, status: Status.SUCCESS, dataType: attribute.type, attrData: value };
      }));
    }
    if (isGlobal && command.name === 'write') {
      return reply('writeRsp', [{ status: refuses ? Status.READ_ONLY : Status.SUCCESS }]);
    }
    if (isGlobal && command.name === 'configReport') {
      return reply('configReportRsp', [{ status: Status.SUCCESS }]);
    }
    const statusCode = refuses ? Status.FAILURE : Status.SUCCESS;
    return reply('defaultRsp', { cmdId: command.ID, statusCode });
  }

  received(address, endpoint, frame) {
    const data = frame.toBuffer();
    return {
      clusterID: frame.cluster.ID, address, header: Header.fromBuffer(data), data, endpoint,
      linkquality: 200, groupID: 0, wasBroadcast: false, destinationEndpoint: 1,
    };
  }

  /** A device says an attribute by itself. */
  report([address, cluster, name, value]) {
    const kind = Zcl.Utils.getCluster(cluster);
    const { ID, type } = kind.attributes[name];
    this.attributes(address, cluster)[name] = Number(value);
    const body = [{ attrId: ID, dataType: type, attrData: Number(value) }];
    const frame = Frame.create(FrameType.GLOBAL, 1, true, undefined, 77, 'report', kind, body, {});
    this.emit('zclPayload', this.received(Number(address), 1, frame));
  }
}

function byId(cluster, id) {
  return Object.values(cluster.attributes).find(({ ID }) => ID === id);
}

function modeOf(address) {
  return JSON.parse(fs.readFileSync(process.env.RADIO_MODES, 'utf8'))[address] ?? 'ok';
}

/** A new line of the file RADIO_REPORTS, such as `1002 msTemperatureMeasurement measuredValue 2150`, is a report. */
adapter.Adapter.create = async (...args) => {
  const radio = new Radio(...args);
  let read = 0;
  setInterval(() => {
    const lines = fs.readFileSync(process.env.RADIO_REPORTS, 'utf8').split('\n').slice(0, -1);
    for (const line of lines.slice(read)) radio.report(line.split(' '));
    read = lines.length;
  }, 50).unref();
  return radio;
};
