"""The service's description for clients that build themselves from it, such as suds.

It is made from pyVmomi's registry of types, so it says what the codec does.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from pyVmomi import vmodl
from pyVmomi.VmomiSupport import (
    F_LINK,
    F_OPTIONAL,
    XMLNS_VMODL_BASE,
    XMLNS_XSD,
    Array,
    DataObject,
    GetQualifiedWsdlName,
    GetServiceVersions,
    GetVmodlType,
    IsChildVersion,
    ListDataTypes,
    ListEnumTypes,
    ListManagedTypes,
    ManagedMethod,
    NoneType,
    PropertyPath,
    versionIdMap,
)
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.kernel.service_instance import API_VERSION, WIRE_VERSION
from vmops.numbers import whole_number

if TYPE_CHECKING:
    from pyVmomi.VmomiSupport import MethodInfo

_ADDRESS = "@ADDRESS@"
_STRINGS: tuple[type, ...] = (type, PropertyPath, ManagedMethod)

_HEAD = f"""<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/"
 xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
 xmlns:vim25="{XMLNS_VMODL_BASE}" targetNamespace="{XMLNS_VMODL_BASE}">
<types>
<schema xmlns="{XMLNS_XSD}" xmlns:xsd="{XMLNS_XSD}" targetNamespace="{XMLNS_VMODL_BASE}"
 elementFormDefault="qualified">
<complexType name="ManagedObjectReference"><simpleContent><extension base="xsd:string">
<attribute name="type" type="xsd:string"/></extension></simpleContent></complexType>
<complexType name="ArrayOfManagedObjectReference"><sequence>
<element name="ManagedObjectReference" type="vim25:ManagedObjectReference" minOccurs="0"
 maxOccurs="unbounded"/></sequence></complexType>
"""
_XSD_ARRAYS = (
    *("anyType", "boolean", "byte", "short", "int", "long", "float", "double", "string"),
    *("anyURI", "base64Binary", "dateTime"),
)


def wsdl(address: str) -> bytes:
    """The whole description in one document; `address` is where the service answers."""
    return _document().replace(_ADDRESS, escape(address, {'"': "&quot;"})).encode()


@lru_cache(maxsize=1)
def service_versions() -> bytes:
    """The API versions a client can choose from."""
    versions = [
        versionIdMap[each]
        for each in GetServiceVersions("vim25")
        if each != WIRE_VERSION and IsChildVersion(WIRE_VERSION, each) and _is_release(each)
    ]
    prior = "".join(f"<version>{each}</version>" for each in versions)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<namespaces version="1.0"><namespace>'
        f"<name>{XMLNS_VMODL_BASE}</name><version>{API_VERSION}</version>"
        f"<priorVersions>{prior}</priorVersions></namespace></namespaces>"
    ).encode()


def _is_release(version: str) -> bool:
    return (
        version.startswith("vim.version.") and whole_number(versionIdMap[version][:1]) is not None
    )


@lru_cache(maxsize=1)
def _document() -> str:
    methods = sorted(_methods(), key=lambda info: str(info.wsdlName))
    parts = [_HEAD]
    parts += (_array(name, f"xsd:{name}") for name in _XSD_ARRAYS)
    parts += (_enumeration(cls) for cls in _types(ListEnumTypes()))
    parts += (_complex_type(cls) for cls in _types(ListDataTypes()))
    parts += (_call_elements(info) for info in methods)
    parts.append("</schema>\n</types>\n")
    parts += (_messages(info.wsdlName) for info in methods)
    parts.append('<portType name="VimPortType">\n')
    parts += (_operation(info.wsdlName) for info in methods)
    parts.append(
        '</portType>\n<binding name="VimBinding" type="vim25:VimPortType">'
        '<soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>\n'
    )
    parts += (_bound_operation(info.wsdlName) for info in methods)
    parts.append(
        '</binding>\n<service name="VimService"><port binding="vim25:VimBinding" name="VimPort">'
        f'<soap:address location="{_ADDRESS}"/></port></service>\n</definitions>\n'
    )
    return "".join(parts)


def _types(names: list[str]) -> Iterator[type[Any]]:
    for name in sorted(names):
        if name.startswith(("vim.", "vmodl.")):
            cls = GetVmodlType(name)
            if _is_known(cls) and cls is not DataObject:
                yield cls


def _is_known(cls: type[Any]) -> bool:
    namespace = GetQualifiedWsdlName(cls)[0]
    return namespace == XMLNS_VMODL_BASE and bool(IsChildVersion(WIRE_VERSION, cls._version))


def _methods() -> Iterator[MethodInfo]:
    for cls in _types(ListManagedTypes()):
        for info in cls._methodInfo.values():
            if IsChildVersion(WIRE_VERSION, info.version):
                yield info


def _type_name(declared: type) -> str:
    if declared in _STRINGS:
        return "xsd:string"
    if declared is object:
        return "xsd:anyType"
    if declared is datetime:
        return "xsd:dateTime"
    if issubclass(declared, Reference):
        return "vim25:ManagedObjectReference"
    if issubclass(declared, vmodl.MethodFault):
        return "vim25:LocalizedMethodFault"
    namespace, name = GetQualifiedWsdlName(declared)
    return f"xsd:{name}" if namespace == XMLNS_XSD else f"vim25:{name}"


def _element(name: str, declared: type, flags: int) -> str:
    many = ""
    if issubclass(declared, Array):
        declared, many = declared.Item, ' maxOccurs="unbounded"'
    few = ' minOccurs="0"' if flags & F_OPTIONAL else ""
    type_name = "xsd:string" if flags & F_LINK else _type_name(declared)
    return f'<element name="{name}" type="{type_name}"{few}{many}/>'


def _complex_type(cls: type[Any]) -> str:
    name = cls._wsdlName
    base = None if cls in (vmodl.DynamicData, vmodl.LocalizedMethodFault) else cls.__bases__[0]
    if cls is vmodl.LocalizedMethodFault:
        fields = '<element name="fault" type="vim25:MethodFault"/>' + _element(
            "localizedMessage", str, F_OPTIONAL
        )
    else:
        fields = "".join(
            _element(info.name, info.type, info.flags)
            for info in cls._propList
            # The last two are every object's on paper and nobody's in practice.
            if IsChildVersion(WIRE_VERSION, info.version)
            and info.name not in ("msg", "dynamicType", "dynamicProperty")
        )
    body = f"<sequence>{fields}</sequence>"
    if base is not None and base is not DataObject:
        extended = _type_of_base(base)
        body = f'<complexContent><extension base="{extended}">{body}</extension></complexContent>'
    text = f'<complexType name="{name}">{body}</complexType>\n{_array(name, f"vim25:{name}")}'
    if cls is not vmodl.LocalizedMethodFault and issubclass(cls, vmodl.MethodFault):
        text += f'<element name="{name}Fault" type="vim25:{name}"/>\n'
    return text


def _type_of_base(base: type) -> str:
    return f"vim25:{GetQualifiedWsdlName(base)[1]}"


def _array(item: str, type_name: str) -> str:
    return (
        f'<complexType name="ArrayOf{item[:1].upper()}{item[1:]}"><sequence>'
        f'<element name="{item}" type="{type_name}" minOccurs="0" maxOccurs="unbounded"/>'
        "</sequence></complexType>\n"
    )


def _enumeration(cls: type[Any]) -> str:
    values = "".join(f"<enumeration value={quoteattr(str(each))}/>" for each in cls.values)
    name = cls._wsdlName
    return (
        f'<simpleType name="{name}"><restriction base="xsd:string">{values}</restriction>'
        f"</simpleType>\n{_array(name, f'vim25:{name}')}"
    )


def _call_elements(info: MethodInfo) -> str:
    name = info.wsdlName
    parameters = "".join(
        _element(each.name, each.type, each.flags)
        for each in info.params
        if IsChildVersion(WIRE_VERSION, each.version)
    )
    returns = ""
    if info.result is not NoneType and info.result is not None:
        returns = _element("returnval", info.result, info.resultFlags)
    return (
        f'<element name="{name}"><complexType><sequence>'
        f'<element name="_this" type="vim25:ManagedObjectReference"/>{parameters}'
        "</sequence></complexType></element>\n"
        f'<element name="{name}Response"><complexType><sequence>{returns}</sequence>'
        "</complexType></element>\n"
    )


def _messages(name: str) -> str:
    return (
        f'<message name="{name}RequestMsg"><part name="parameters" element="vim25:{name}"/>'
        f'</message>\n<message name="{name}ResponseMsg">'
        f'<part name="parameters" element="vim25:{name}Response"/></message>\n'
    )


def _operation(name: str) -> str:
    return (
        f'<operation name="{name}"><input message="vim25:{name}RequestMsg"/>'
        f'<output message="vim25:{name}ResponseMsg"/></operation>\n'
    )


def _bound_operation(name: str) -> str:
    return (
        f'<operation name="{name}">'
        f'<soap:operation soapAction="{XMLNS_VMODL_BASE}/{API_VERSION}" style="document"/>'
        '<input><soap:body use="literal"/></input><output><soap:body use="literal"/></output>'
        "</operation>\n"
    )
