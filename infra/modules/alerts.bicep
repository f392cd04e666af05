// What somebody must hear of. docs/OPERATIONS.md says for each name what to do.
//
// A line of the handler is JSON on stdout, which the host keeps as text at level Information whatever it says: so a query parses the
// line and compares its `evt`, and never a severity or a word that an id could hold.

@description('Makes names unique.')
param token string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('The workspace.')
param workspaceId string

@description('Who hears of it.')
param actionGroupId string

@description('The topic of the change feed.')
param topicId string

@description('Faulted instances of one tenant from which the backlog is an alert.')
param faultedBacklog int

var rules = [
  {
    name: 'instance-faulted'
    description: 'A workflow instance has faulted.'
    severity: 2
    frequency: 'PT5M'
    window: 'PT15M'
    query: '''
AppTraces
| where Message has "instance.faulted"
| extend line = parse_json(Message)
| where tostring(line.evt) == "instance.faulted"
| summarize Value = dcount(strcat(tostring(line.category), "/", tostring(line.stream))) by Subject = tostring(line.tenant)
'''
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 0
    split: true
  }
  {
    name: 'faulted-backlog'
    description: 'A tenant has many faulted instances that nobody has dealt with.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT30M'
    query: '''
AppTraces
| where Message has "gauge.tenant"
| extend line = parse_json(Message)
| where tostring(line.evt) == "gauge.tenant"
| summarize Value = max(tolong(line.faulted)) by Subject = tostring(line.tenant)
'''
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: faultedBacklog
    split: true
  }
  {
    name: 'commands-in-doubt'
    description: 'Nobody knows what became of a command.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT30M'
    query: '''
AppTraces
| where Message has "gauge.tenant"
| extend line = parse_json(Message)
| where tostring(line.evt) == "gauge.tenant"
| summarize Value = max(tolong(line.in_doubt)) by Subject = tostring(line.tenant)
'''
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: 0
    split: true
  }
  {
    name: 'feed-late'
    description: 'Events of a tenant wait for longer than 15 minutes to be handed to the publish queue.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT30M'
    query: '''
AppTraces
| where Message has "gauge.tenant"
| extend line = parse_json(Message)
| where tostring(line.evt) == "gauge.tenant"
| summarize Value = max(tolong(line.feed_lag_s)) by Subject = tostring(line.tenant)
'''
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: 900
    split: true
  }
  {
    name: 'checkpoint-late'
    description: 'Events of a tenant have waited for more than an hour to be covered by a signed checkpoint.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT30M'
    query: '''
AppTraces
| where Message has "gauge.tenant"
| extend line = parse_json(Message)
| where tostring(line.evt) == "gauge.tenant"
| summarize Value = max(tolong(line.checkpoint_age_s)) by Subject = tostring(line.tenant)
'''
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: 3600
    split: true
  }
  {
    name: 'queue-late'
    description: 'The oldest message that waits on the ingest or the publish queue is older than 15 minutes.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT30M'
    query: '''
AppTraces
| where Message has "gauge.queue"
| extend line = parse_json(Message)
| where tostring(line.evt) == "gauge.queue" and tobool(line.poison) == false
| summarize Value = max(tolong(line.oldest_s)) by Subject = tostring(line.queue)
'''
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: 900
    split: true
  }
  {
    name: 'poison-old'
    description: 'A poison message is older than 15 minutes: its function does not get it away, and nothing comes after a poison queue.'
    severity: 1
    frequency: 'PT15M'
    window: 'PT30M'
    query: '''
AppTraces
| where Message has "gauge.queue"
| extend line = parse_json(Message)
| where tostring(line.evt) == "gauge.queue" and tobool(line.poison) == true
| summarize Value = max(tolong(line.oldest_s)) by Subject = tostring(line.queue)
'''
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: 900
    split: true
  }
  {
    name: 'poison-depth'
    description: 'Messages lie on a poison queue.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT30M'
    query: '''
AppTraces
| where Message has "gauge.queue"
| extend line = parse_json(Message)
| where tostring(line.evt) == "gauge.queue" and tobool(line.poison) == true
| summarize Value = max(tolong(line.depth)) by Subject = tostring(line.queue)
'''
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: 0
    split: true
  }
  {
    name: 'message-poisoned'
    description: 'The host has moved a message to a poison queue: storage was out of reach for hours, or a message breaks the handler.'
    severity: 1
    frequency: 'PT5M'
    window: 'PT15M'
    query: '''
AppTraces
| where Message startswith "Message has reached MaxDequeueCount"
| parse Message with * "queue '" Queue "'" *
| summarize Value = count() by Subject = Queue
'''
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 0
    split: true
  }
  {
    name: 'dead-letter-kept'
    description: 'A message can never be stored as it is, and waits as a dead letter.'
    severity: 2
    frequency: 'PT5M'
    window: 'PT15M'
    query: '''
AppTraces
| where Message has "dead-letter.kept"
| extend line = parse_json(Message)
| where tostring(line.evt) == "dead-letter.kept"
| summarize Value = dcount(tostring(line.dead_letter)) by Subject = strcat(tostring(line.tenant), " ", tostring(line.code))
'''
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 0
    split: true
  }
  {
    name: 'invocations-failing'
    description: 'A function fails again and again.'
    severity: 2
    frequency: 'PT5M'
    window: 'PT15M'
    query: '''
AppTraces
| where Message has "invocation.failed"
| extend line = parse_json(Message)
| where tostring(line.evt) == "invocation.failed"
| summarize Value = count() by Subject = tostring(line.function)
'''
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 20
    split: true
  }
  {
    name: 'gauge-silent'
    description: 'No gauge has come through for 30 minutes: the app or its log is down, and no other alert can be trusted.'
    severity: 1
    frequency: 'PT15M'
    window: 'PT30M'
    query: '''
AppTraces
| where Message has "gauge.done"
| extend line = parse_json(Message)
| where tostring(line.evt) == "gauge.done"
| summarize Value = count()
'''
    aggregation: 'Total'
    operator: 'LessThan'
    threshold: 1
    split: false
  }
  {
    name: 'gauge-incomplete'
    description: 'The gauge could not read a tenant or a queue, so its levels are not known.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT1H'
    query: '''
AppTraces
| where Message has "gauge.done"
| extend line = parse_json(Message)
| where tostring(line.evt) == "gauge.done" and tobool(line.complete) == false
| summarize Value = count()
'''
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 3
    split: false
  }
  {
    name: 'handler-restarting'
    description: 'The handler ends and is started again. The third time within half an hour stops the host.'
    severity: 1
    frequency: 'PT5M'
    window: 'PT15M'
    query: '''
AppTraces
| where Message has_any ("Language Worker Process exited", "Failed to start Worker Channel")
| summarize Value = count()
'''
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 0
    split: false
  }
  {
    name: 'publish-failing'
    description: 'Functions fail although the handler answered them: Event Grid does not take what they return.'
    severity: 2
    frequency: 'PT5M'
    window: 'PT15M'
    query: '''
AppRequests
| where Success == false and Name in ("ingest", "ingest-poison", "publish")
| summarize Value = count() by Subject = Name
'''
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 20
    split: true
  }
  {
    name: 'storage-throttled'
    description: 'Storage asks us to slow down: a partition is at its limit, or the account is.'
    severity: 2
    frequency: 'PT5M'
    window: 'PT15M'
    query: '''
AppTraces
| where Message has "storage.throttled"
| extend line = parse_json(Message)
| where tostring(line.evt) == "storage.throttled"
| summarize Value = sum(tolong(line.answers))
'''
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 50
    split: false
  }
  {
    name: 'identity-failing'
    description: 'The handler gets no token for storage: a role or the identity is gone.'
    severity: 1
    frequency: 'PT5M'
    window: 'PT15M'
    query: '''
AppTraces
| where Message has "identity.failed"
| extend line = parse_json(Message)
| where tostring(line.evt) == "identity.failed"
| summarize Value = count()
'''
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 3
    split: false
  }
]
var bySubject = [
  {
    name: 'Subject'
    operator: 'Include'
    values: [
      '*'
    ]
  }
]

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: 'annals-${rule.name}-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Annals: ${rule.name}'
    description: rule.description
    enabled: true
    severity: rule.severity
    evaluationFrequency: rule.frequency
    windowSize: rule.window
    scopes: [
      workspaceId
    ]
    // The tables are empty when this is deployed for the first time.
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: rule.aggregation
          metricMeasureColumn: 'Value'
          operator: rule.operator
          threshold: rule.threshold
          dimensions: rule.split ? bySubject : []
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [
        actionGroupId
      ]
    }
  }
}]

resource publishFailures 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'annals-event-grid-refuses-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Event Grid has refused events of the change feed.'
    enabled: true
    severity: 2
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    scopes: [
      topicId
    ]
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'publish-failures'
          metricName: 'PublishFailCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: [
      {
        actionGroupId: actionGroupId
      }
    ]
  }
}
