"""OVF descriptors as different programs write them."""

VMWARE = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf">
 <References>
  <File ovf:href="system.vmdk" ovf:id="file1" ovf:size="{size}"/>
 </References>
 <DiskSection><Info/>
  <Disk ovf:capacity="6" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="root"
    ovf:fileRef="file1"
    ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  <Disk ovf:capacity="${{data}}" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="data"/>
 </DiskSection>
 <NetworkSection><Info/>
  <Network ovf:name="inside"><Description>To the others</Description></Network>
 </NetworkSection>
 <DeploymentOptionSection><Info/>
  <Configuration ovf:id="small"><Label>Small</Label><Description>For trying</Description>
  </Configuration>
  <Configuration ovf:id="large" ovf:default="true"><Label>Large</Label><Description/>
  </Configuration>
 </DeploymentOptionSection>
 <VirtualSystem ovf:id="appliance">
  <Info/>
  <Name>Appliance</Name>
  <EulaSection><Info/><License>Be nice.</License></EulaSection>
  <AnnotationSection><Info/><Annotation>Made for tests</Annotation></AnnotationSection>
  <OperatingSystemSection ovf:id="94" vmw:osType="ubuntu64Guest"><Info/></OperatingSystemSection>
  <VirtualHardwareSection ovf:transport="com.vmware.guestInfo"><Info/>
   <System><vssd:ElementName>x</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
    <vssd:VirtualSystemType>vmx-99 vmx-15</vssd:VirtualSystemType></System>
   <Item><rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits>
    <rasd:InstanceID>1</rasd:InstanceID><rasd:Limit>2000</rasd:Limit>
    <rasd:Reservation>500</rasd:Reservation><rasd:ResourceType>3</rasd:ResourceType>
    <rasd:VirtualQuantity>4</rasd:VirtualQuantity>
    <vmw:CoresPerSocket ovf:required="false">2</vmw:CoresPerSocket></Item>
   <Item><rasd:AllocationUnits>byte * 2^30</rasd:AllocationUnits>
    <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
    <rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
   <Item ovf:configuration="small"><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits>
    <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
    <rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
   <Item><rasd:Address>0</rasd:Address><rasd:InstanceID>3</rasd:InstanceID>
    <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType>
    <rasd:ResourceType>6</rasd:ResourceType></Item>
   <Item><rasd:Address>0</rasd:Address><rasd:InstanceID>4</rasd:InstanceID>
    <rasd:ResourceType>5</rasd:ResourceType></Item>
   <Item ovf:required="false"><rasd:AddressOnParent>0</rasd:AddressOnParent>
    <rasd:InstanceID>5</rasd:InstanceID><rasd:Parent>4</rasd:Parent>
    <rasd:ResourceType>15</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>disk0</rasd:ElementName>
    <rasd:HostResource>ovf:/disk/root</rasd:HostResource><rasd:InstanceID>6</rasd:InstanceID>
    <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>1</rasd:AddressOnParent>
    <rasd:HostResource>ovf:/disk/data</rasd:HostResource><rasd:InstanceID>7</rasd:InstanceID>
    <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
   <Item><rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
    <rasd:Connection>inside</rasd:Connection><rasd:InstanceID>8</rasd:InstanceID>
    <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType>
    <rasd:ResourceType>10</rasd:ResourceType></Item>
   <Item ovf:required="false"><rasd:ElementName>Floppy</rasd:ElementName>
    <rasd:InstanceID>9</rasd:InstanceID><rasd:ResourceType>14</rasd:ResourceType></Item>
   <vmw:Config ovf:required="false" vmw:key="cpuHotAddEnabled" vmw:value="true"/>
   <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
   <vmw:Config ovf:required="false" vmw:key="unknown.thing" vmw:value="1"/>
   <vmw:ExtraConfig ovf:required="false" vmw:key="svga.autodetect" vmw:value="TRUE"/>
  </VirtualHardwareSection>
  <ProductSection ovf:class="app" ovf:instance="1"><Info/>
   <Product>Appliance</Product><Vendor>Us</Vendor><Version>1</Version>
   <FullVersion>1.2.3</FullVersion>
   <Property ovf:key="data" ovf:type="uint32" ovf:value="3"><Value ovf:value="2"
     ovf:configuration="small"/></Property>
   <Property ovf:key="hostname" ovf:type="string" ovf:userConfigurable="true">
    <Label>Host name</Label><Description>Its name</Description></Property>
  </ProductSection>
 </VirtualSystem>
</Envelope>
"""

VIRTUALBOX = """<?xml version="1.0"?>
<Envelope ovf:version="1.0" xmlns="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
  xmlns:vbox="http://www.virtualbox.org/ovf/machine">
 <References><File ovf:id="file1" ovf:href="box-disk001.vmdk"/></References>
 <DiskSection><Info/><Disk ovf:capacity="6291456" ovf:diskId="vmdisk1" ovf:fileRef="file1"
   vbox:uuid="1"/></DiskSection>
 <NetworkSection><Info/><Network ovf:name="NAT"><Description/></Network></NetworkSection>
 <VirtualSystem ovf:id="box"><Info/>
  <OperatingSystemSection ovf:id="96"><Info/><Description>Debian_64</Description>
   <vbox:OSType ovf:required="false">Debian_64</vbox:OSType></OperatingSystemSection>
  <VirtualHardwareSection><Info/>
   <System><vssd:ElementName>x</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
    <vssd:VirtualSystemType>virtualbox-2.2</vssd:VirtualSystemType></System>
   <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
    <rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
   <Item><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits>
    <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
    <rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
   <Item><rasd:Address>0</rasd:Address><rasd:InstanceID>3</rasd:InstanceID>
    <rasd:ResourceSubType>PIIX4</rasd:ResourceSubType><rasd:ResourceType>5</rasd:ResourceType></Item>
   <Item><rasd:Address>0</rasd:Address><rasd:InstanceID>5</rasd:InstanceID>
    <rasd:ResourceSubType>AHCI</rasd:ResourceSubType>
    <rasd:ResourceType>20</rasd:ResourceType></Item>
   <Item ovf:required="false"><rasd:ElementName>usb</rasd:ElementName>
    <rasd:InstanceID>6</rasd:InstanceID><rasd:ResourceType>23</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>0</rasd:AddressOnParent>
    <rasd:HostResource>/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>8</rasd:InstanceID>
    <rasd:Parent>5</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
   <Item><rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
    <rasd:Connection>NAT</rasd:Connection><rasd:InstanceID>9</rasd:InstanceID>
    <rasd:ResourceSubType>E1000</rasd:ResourceSubType>
    <rasd:ResourceType>10</rasd:ResourceType></Item>
  </VirtualHardwareSection>
 </VirtualSystem>
</Envelope>
"""
