// Getters that WhatsApp keeps apart from its models; wa-js hangs them on the prototypes.
__d('WAWebMsgGetters', [], (exports) => {
  exports.getIsUnreadType = () => true;
  exports.getQuotedMsgObj = () => undefined;
});

__d('WAWebMsgDataFromModel', [], (exports) => {
  exports.msgDataFromMsgModel = async (msg) => msg.attributes;
});

__d('WAWebChatGetters', [], (exports) => {
  exports.getShouldAppearInList = () => true;
  exports.getPreviewMessage = (chat) => chat.msgs.last();
  exports.getShowChangeNumberNotification = () => false;
  exports.getShouldShowUnreadDivider = () => false;
  exports.getHasUnread = (chat) => chat.unreadCount !== 0;
});

__d('WAWebContactGetters', [], (exports) => {
  const empty = [
    'getNotifyName',
    'getPremiumMessageName',
    'getUserid',
    'getIsGroup',
    'getIsBroadcast',
    'getIsNewsletter',
    'getIsPSA',
    'getIsIAS',
    'getIsSupportAccount',
    'getCanRequestPhoneNumber',
    'getShowBusinessCheckmarkAsPrimary',
    'getShowBusinessCheckmarkAsSecondary',
    'getShowBusinessCheckmarkInChatlist',
    'getShouldForceBusinessUpdate',
    'getIsDisplayNameApproved',
    'getUserhash',
  ];
  for (const name of empty) exports[name] = () => undefined;
  exports.getIsMe = (contact) => require('WAWebUserPrefsMeUser').isMeAccount(contact.id);
  exports.getIsUser = (contact) => contact.id.isUser();
  exports.getIsWAContact = () => true;
});

__d('WAWebFrontendContactGetters', [], (exports) => {
  const name = (contact) => contact.name ?? contact.pushname ?? contact.id.user;
  const phone = (contact) => `+${(require('SandboxPeople').pnOf(contact.id) ?? contact.id).user}`;
  const byName = [
    'getUserDisplayNameForLid',
    'getDisplayName',
    'getFormattedShortNameWithNonBreakingSpaces',
    'getFormattedShortName',
    'getFormattedName',
    'getFormattedUser',
    'getSearchName',
    'getMentionName',
    'getDisplayNameOrPnForLid',
  ];
  for (const getter of byName) exports[getter] = name;
  exports.getFormattedPhone = phone;
  exports.getFormattedUsernameOrPhone = phone;
  exports.getPhoneNumber = (contact) => contact.id;
  exports.getPnForLid = (contact) => (contact.id.isLid() ? require('SandboxPeople').pnOf(contact.id) : undefined);
  exports.getTextStatusString = () => '';
  exports.getIsMyContact = (contact) => !!contact.isMyContact;
  exports.getSearchVerifiedName = () => undefined;
  exports.getHeader = () => undefined;
});

__d('WAWebGetEphemeralFieldsMsgActionsUtils', [], (exports) => {
  exports.getEphemeralFields = () => ({});
});
