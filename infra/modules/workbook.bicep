// The dashboard: what the gauges say, over time.

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('The workspace.')
param workspaceId string

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'annals')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Annals'
    category: 'workbook'
    version: '1.0'
    sourceId: workspaceId
    serializedData: loadTextContent('../workbook.json')
  }
}
